"""A deprecated name works until its release, says what it is called now, and never beats the new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dynamo_core.args import Arguments, DynamoFlexibleArgumentParser, Settings, setting
from dynamo_core.errors import UserError


class RenamedSettings(Settings):
    "Renamed"

    http_port: int = setting(8000, "Port.", formerly={"port": "0.3"})
    loud: bool = setting(False, "Loud.", formerly={"noisy": "0.4"})


def resolve(*argv: str) -> Arguments[RenamedSettings]:
    return DynamoFlexibleArgumentParser(RenamedSettings).resolve(argv)


def write(folder: Path, text: str) -> str:
    file = folder / "old.yaml"
    file.write_text(text)
    return str(file)


def test_as_a_flag() -> None:
    arguments = resolve("--port", "1", "--noisy")
    assert (arguments.settings.http_port, arguments.settings.loud) == (1, True)
    assert arguments.warnings == [
        "--port is deprecated and goes in 0.3; it is now --http-port",
        "--noisy is deprecated and goes in 0.4; it is now --loud",
    ]


def test_a_negated_switch() -> None:
    assert resolve("--no-noisy").warnings == ["--no-noisy is deprecated and goes in 0.4; it is now --no-loud"]


def test_as_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYN_PORT", "2")
    arguments = resolve()
    assert arguments.settings.http_port == 2
    assert arguments.warnings == ["DYN_PORT is deprecated and goes in 0.3; it is now DYN_HTTP_PORT"]


def test_the_new_variable_beats_the_old_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYN_PORT", "2")
    monkeypatch.setenv("DYN_HTTP_PORT", "3")
    assert resolve().settings.http_port == 3


def test_as_a_key_of_a_file(tmp_path: Path) -> None:
    file = write(tmp_path, "port: 4\n")
    arguments = resolve("-f", file)
    assert arguments.settings.http_port == 4
    assert arguments.warnings == [f"{file}:1: port is deprecated and goes in 0.3; it is now http-port"]
    assert str(arguments.origins["http_port"]) == f"{file}:1"


def test_both_on_one_command_line() -> None:
    with pytest.raises(UserError, match="--http-port and --port contradict each other; keep one of the two"):
        resolve("--http-port", "1", "--port", "2")


def test_both_in_one_file(tmp_path: Path) -> None:
    file = write(tmp_path, "http-port: 1\nport: 2\n")
    with pytest.raises(UserError, match="port is the former name of http-port"):
        resolve("-f", file)


def test_a_component_says_it_when_it_starts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        DynamoFlexibleArgumentParser(RenamedSettings).parse(["--port", "1", "--show-config"])
    captured = capsys.readouterr()
    assert "warning: --port is deprecated and goes in 0.3; it is now --http-port" in captured.err
    assert "--port is deprecated" not in captured.out
