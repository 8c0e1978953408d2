"""What a user reads after a mistake: the rule, the value found, where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest
from every_setting import WorkerSettings

from dynamo_core.args import DynamoFlexibleArgumentParser, Engine
from dynamo_core.errors import UserError

REQUIRED = ["--model", "m", "--component", "c"]


def message(argv: list[str], *, engine: Engine | None = None) -> str:
    with pytest.raises(UserError) as raised:
        DynamoFlexibleArgumentParser(WorkerSettings, engine=engine).resolve(argv)
    return str(raised.value)


def about_file(folder: Path, content: bytes, argv: list[str] | None = None) -> tuple[str, Path]:
    file = folder / "settings.yaml"
    file.write_bytes(content)
    return message([*REQUIRED, "-f", str(file), *(argv or [])]), file


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--stats-port=5"], "unknown flag '--stats-port'; did you mean --status-port, --status-host?"),
        (["--frobnicate"], "unknown flag '--frobnicate'"),
        (["serve"], "unexpected argument 'serve'"),
    ],
)
def test_unknown_words(argv: list[str], text: str) -> None:
    assert message([*REQUIRED, *argv]) == text


def test_a_required_setting() -> None:
    assert message(["--component", "c"]) == "--model is required: give the flag, or set DYN_MODEL"


def test_a_flag_without_its_value() -> None:
    assert message(["--component", "c", "--model"]) == "--model needs a value: --model MODEL"


RANGE = "status-port: input should be less than or equal to 32767; found {found} (from {origin})"
NO_NUMBER = (
    "drain-timeout: input should be a valid number, unable to parse string as a number; "
    "found 'soon' (from {origin})"
)


def test_a_value_out_of_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert message([*REQUIRED, "--status-port", "40000"]) == RANGE.format(
        found="'40000'", origin="--status-port"
    )
    found, file = about_file(tmp_path, b"# mine\nstatus-port: 40000\n")
    assert found == RANGE.format(found="40000", origin=f"{file}:2")
    monkeypatch.setenv("DYN_SYSTEM_PORT", "40000")
    assert message(REQUIRED) == RANGE.format(found="'40000'", origin="DYN_SYSTEM_PORT")


def test_a_value_of_the_wrong_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert message([*REQUIRED, "--drain-timeout", "soon"]) == NO_NUMBER.format(origin="--drain-timeout")
    found, file = about_file(tmp_path, b"\n\ndrain-timeout: soon\n")
    assert found == NO_NUMBER.format(origin=f"{file}:3")
    monkeypatch.setenv("DYN_DRAIN_TIMEOUT", "soon")
    assert message(REQUIRED) == NO_NUMBER.format(origin="DYN_DRAIN_TIMEOUT")


def test_a_truth_value_is_no_port(tmp_path: Path) -> None:
    found, file = about_file(tmp_path, b"status-port: yes\n")
    assert found.startswith("status-port: input should be")
    assert found.endswith(f"found True (from {file}:1)")


def test_a_choice_comes_with_the_nearest_one() -> None:
    assert message([*REQUIRED, "--log-level", "warn"]) == (
        "log-level: input should be 'debug', 'info', 'warning' or 'error'; found 'warn' (from --log-level); "
        "did you mean warning?"
    )


def test_a_secret_is_not_repeated(tmp_path: Path) -> None:
    found, file = about_file(tmp_path, b"nats-server: [nats://user:hunter2@host]\n")
    assert found == f"nats-server: input should be a valid string; found (hidden) (from {file}:1)"


def test_an_unknown_key_of_a_file(tmp_path: Path) -> None:
    found, file = about_file(tmp_path, b"model: m\nname-space: x\n")
    assert found == f"{file}:2: unknown key 'name-space'; did you mean namespace?"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"model: \xff\xfe\n", "{file} is not UTF-8 text: invalid start byte at byte 7"),
        (
            b"model: m\nother: [1, 2\n",
            "{file}:3: not valid YAML: expected ',' or ']', but got '<stream end>'",
        ),
        (
            b"model: m\n\tother: 1\n",
            "{file}:2: not valid YAML: found character '\\t' that cannot start any token",
        ),
        (
            b"model: m\nendpoint: e\nmodel: n\n",
            "{file}:3: 'model' is given twice, first on line 1\n  fix: keep one of the two",
        ),
        (b"- model\n- endpoint\n", "{file}:1: expected `key: value` lines"),
        (b"just words\n", "{file}:1: expected `key: value` lines"),
        (b"model: m\n5: five\n", "{file}:2: a key must be text, found 5"),
        (b"model: m\n---\nmodel: n\n", "{file}:2: not valid YAML: but found another document"),
        (b"model: \x01\n", "{file}: not valid YAML: "),
    ],
)
def test_what_is_no_mapping_of_plain_values(tmp_path: Path, content: bytes, expected: str) -> None:
    found, file = about_file(tmp_path, content)
    assert found.startswith(expected.format(file=file))
    assert expected.endswith("YAML: ") or found == expected.format(file=file)


def test_a_file_that_holds_itself(tmp_path: Path) -> None:
    found, file = about_file(tmp_path, b"model: m\nendpoint: &a\n  x: *a\n")
    assert found.startswith(f"{file}:")


def test_common_that_is_no_section(tmp_path: Path) -> None:
    found, file = about_file(tmp_path, b"Common: m\n")
    assert found.startswith(f"{file}:1: Common must be a section")


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert message([*REQUIRED, "-f", str(missing)]) == (
        f"cannot read {missing}: No such file or directory\n  fix: check the path and its permissions"
    )
    assert message([*REQUIRED, "-f", str(tmp_path)]) == (
        f"cannot read {tmp_path}: Is a directory\n  fix: check the path and its permissions"
    )


def test_an_empty_file_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing yet\n")
    DynamoFlexibleArgumentParser(WorkerSettings).resolve([*REQUIRED, "-f", str(file)])


def test_all_problems_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("endpont: e\nlog-level: loud\n")
    monkeypatch.setenv("DYN_DRAIN_TIMEOUT", "-1")
    missing = tmp_path / "missing.yaml"
    argv = ["-f", str(file), "-f", str(missing), "--component", "c", "--staus-port=4"]
    assert sorted(message(argv).splitlines()) == sorted(
        [
            f"{file}:1: unknown key 'endpont'; did you mean endpoint, otlp-endpoint, etcd-endpoints?",
            f"cannot read {missing}: No such file or directory",
            "  fix: check the path and its permissions",
            "unknown flag '--staus-port'; did you mean --status-port, --status-host?",
            "drain-timeout: input should be greater than or equal to 0; found '-1' (from DYN_DRAIN_TIMEOUT)",
            f"log-level: input should be 'debug', 'info', 'warning' or 'error'; found 'loud' (from {file}:2)",
        ]
    )
