"""Nothing that a user writes is dropped or overridden without a word."""

from __future__ import annotations

import pytest
from every_setting import WorkerSettings

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.args.foreign import foreign_names
from dynamo_core.errors import UserError

REQUIRED = ["--model", "m", "--component", "c"]


def message(*argv: str) -> str:
    with pytest.raises(UserError) as caught:
        DynamoFlexibleArgumentParser(WorkerSettings).resolve([*REQUIRED, *argv])
    return str(caught.value)


def test_a_flag_with_two_values() -> None:
    found = message("--status-port", "1", "--status-port=2")
    assert found == "--status-port is given twice, as '1' and as '2'; keep one of the two"


def test_a_flag_with_the_same_value_twice_is_harmless() -> None:
    argv = [*REQUIRED, "--status-port", "1", "--status-port", "1"]
    assert DynamoFlexibleArgumentParser(WorkerSettings).resolve(argv).settings.status_port == 1


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("DYN_NAMESPCE", "did you mean DYN_NAMESPACE"),
        ("DYN_HTTP_PROT", "did you mean DYN_HTTP_PORT"),
        ("DYN_SOMETHING_ELSE_ALTOGETHER", "; unset it"),
    ],
)
def test_a_variable_that_nothing_reads(monkeypatch: pytest.MonkeyPatch, name: str, suggestion: str) -> None:
    monkeypatch.setenv(name, "1")
    found = message()
    assert found.startswith(f"{name} is set, but nothing reads it; ")
    assert suggestion in found


@pytest.mark.parametrize(
    "name", ["DYN_HTTP_PORT", "DYN_TCP_POOL_SIZE", "DYN_PARENT_DGD_K8S_NAME", "DYN_COMPUTE_THREADS"]
)
def test_variables_of_others_are_accepted(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    assert DynamoFlexibleArgumentParser(WorkerSettings).resolve(REQUIRED)


def test_the_list_of_others_has_no_line_that_is_no_name() -> None:
    names = foreign_names()
    assert len(names) > 250
    assert all(name.startswith(("DYN_", "DYNAMO_")) and name == name.upper() for name in names)


def test_an_abbreviation_is_not_guessed() -> None:
    assert message("--drain", "3").startswith(
        "unknown flag '--drain', and flags are not abbreviated; did you mean --drain-timeout"
    )
