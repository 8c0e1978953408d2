"""The one module that touches the environment, and that it is the only one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamo_core import environment
from dynamo_core.args import DynamoFlexibleArgumentParser, RuntimeSettings
from dynamo_core.args.settings import declarations
from dynamo_core.environment import Variable, publish
from dynamo_core.errors import UserError
from dynamo_core.runtime import variables
from dynamo_core.testing.processes import Stack

NAME = "DYNAMO_CORE_TEST"
PACKAGES = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    # Setting first makes monkeypatch restore the absence, whatever publish does in between.
    monkeypatch.setenv(NAME, "")
    monkeypatch.delenv(NAME)


def test_what_is_not_set_is_set() -> None:
    publish([Variable(NAME, "1", "test")])
    assert environment.read(NAME) == "1"
    assert environment.snapshot()[NAME] == "1"


def test_the_same_value_is_no_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "1")
    publish([Variable(NAME, "1", "test")])


def test_a_conflict_is_an_error_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "theirs")
    with pytest.raises(UserError) as raised:
        publish([Variable(NAME, "ours", "a reason")])
    assert str(raised.value) == (
        f"{NAME} is set to 'theirs', but this component needs 'ours' (a reason)\n  fix: unset {NAME}"
    )
    assert environment.read(NAME) == "theirs"


def test_what_a_setting_has_weighed_replaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "theirs")
    publish([Variable(NAME, "ours", "test", setting="some-setting")])
    assert environment.read(NAME) == "ours"


def test_a_default_of_ours_yields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "theirs")
    publish([Variable(NAME, "ours", "test", yields=True)])
    assert environment.read(NAME) == "theirs"
    monkeypatch.delenv(NAME)
    publish([Variable(NAME, "ours", "test", yields=True)])
    assert environment.read(NAME) == "ours"


def _published() -> list[Variable]:
    flags = ["--log-format", "json", "--request-plane", "nats"]
    found: dict[str, Variable] = {}
    for backend in ("file", "etcd"):
        settings = (
            DynamoFlexibleArgumentParser(RuntimeSettings)
            .parse([*flags, "--discovery-backend", backend])
            .settings
        )
        found |= {variable.name: variable for variable in variables.runtime_variables(settings)}
    found |= {variable.name: variable for variable in variables.frontend_variables(30.0)}
    return list(found.values())


@pytest.mark.parametrize(
    "variable", [v for v in _published() if v.setting], ids=lambda variable: variable.name
)
def test_a_variable_that_counts_as_weighed_is_read_by_its_setting(variable: Variable) -> None:
    """Otherwise a value that somebody chose is replaced in silence."""
    by_key = {declared.key: declared for declared in declarations(RuntimeSettings).values()}
    assert by_key[variable.setting].env == variable.name


def test_a_component_stops_at_a_conflict(stack: Stack) -> None:
    worker = stack.start(
        "dynamo_core.testing.scripted", "--model", "m", env={"DYN_TCP_RESPONSE_STREAM_HOST": "10.0.0.1"}
    )
    assert worker.wait() == 2
    assert worker.lines == [
        "python -m dynamo_core.testing.scripted: error: "
        "DYN_TCP_RESPONSE_STREAM_HOST is set to '10.0.0.1', but this component needs '127.0.0.1' "
        "(address that other components reach this one at)",
        "  fix: unset DYN_TCP_RESPONSE_STREAM_HOST",
    ]


def _sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGES.glob("*/src/**/*.py")):
        yield path.relative_to(PACKAGES).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_there_is_source_to_look_at() -> None:
    names = {name.split("/")[0] for name, _ in _sources()}
    assert {"dynamo-core", "dynamo-frontend", "dynamo-mocker"} <= names


def test_only_one_module_touches_the_environment() -> None:
    forbidden = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    found = set()
    for name, tree in _sources():
        for node in ast.walk(tree):
            used = set()
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os":
                used = {node.attr}
            elif isinstance(node, ast.ImportFrom) and node.module == "os":
                used = {alias.name for alias in node.names}
            if used & forbidden:
                found.add(f"{name}:{node.lineno}")
    allowed = "dynamo-core/src/dynamo_core/environment.py"
    assert found
    assert not [where for where in found if not where.startswith(f"{allowed}:")]


def test_only_the_facade_imports_the_runtime() -> None:
    found = []
    for name, tree in _sources():
        for node in ast.walk(tree):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            if any(module.split(".")[0] == "dynamo" for module in modules):
                found.append(f"{name}:{node.lineno}")
    facade = "dynamo-core/src/dynamo_core/runtime/"
    assert found
    assert not [where for where in found if not where.startswith(facade)]
