"""Asking a component what it is, in a real interpreter."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from dynamo_core.args.origins import Located, Origin
from dynamo_core.args.parser import Values
from dynamo_core.deploy.describe import Description
from dynamo_core.deploy.describe import describe as ask
from dynamo_core.errors import UserError

PARSER = """\
import argparse

from dynamo_core.args import DynamoFlexibleArgumentParser, Engine, Settings, setting
from dynamo_core.deploy import BaseDeployment


class OwnSettings(Settings):
    "Own"

    size: int = setting(3, "Size.")
    loud: bool = setting(False, "Loud.")


class Deployment(BaseDeployment):
    namespace = "mine"
    name = "own"
    resources = {"gpu": 1}


def build_parser():
    own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    own.add_argument("--depth", type=int)
    own.add_argument("--eager", action="store_true")
    return own


def parser():
    return DynamoFlexibleArgumentParser(OwnSettings, Deployment, engine=Engine("Own", build_parser))
"""


def describe(component: str, python: str, own: dict[str, object] | None = None) -> Description:
    values = {key: Located(value, Origin("file", "agg.yaml:1")) for key, value in (own or {}).items()}
    return asyncio.run(ask(component, python, Values(own=values), {}))


def problem(component: str, python: str = sys.executable) -> str:
    with pytest.raises(UserError) as raised:
        describe(component, python)
    return str(raised.value)


def test_a_module() -> None:
    found = describe("dynamo_core.testing.scripted", sys.executable, {"model": "m"})
    assert found.engine == ""
    assert found.deployment["name"] == "scripted"
    assert found.deployment["ready_port"] == "status_port"
    assert found.settings["token-delay"].default == 0.0
    assert found.settings["model"].env == "DYN_MODEL"
    assert found.settings["model"].value == "m"


def test_a_package() -> None:
    found = describe("dynamo_frontend", sys.executable)
    assert found.deployment["ready_port"] == "http_port"
    assert found.settings["http-port"].value == 8000


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(PARSER)
    found = describe(str(file), sys.executable)
    assert found.engine == "Own"
    assert {key: about.value for key, about in found.settings.items()} == {"size": 3, "loud": False}
    assert found.deployment == {
        "namespace": "mine",
        "name": "own",
        "resources": {"gpu": 1},
        "container": {},
        "replicas": 1,
        "ready_port": "status_port",
        "role": "",
        "kv_events": False,
        "foreground": False,
        "block_size": None,
    }


def test_values_come_back_with_their_sources_and_as_words(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(PARSER)
    found = describe(str(file), sys.executable, {"size": 4, "depth": 7, "eager": False})
    assert (found.settings["size"].value, str(found.settings["size"].origin)) == (4, "agg.yaml:1")
    assert str(found.settings["loud"].origin) == "default"
    assert {key: about.value for key, about in found.engine_options.items()} == {
        "depth": 7,
        "eager": False,
    }
    assert found.words == ("--size", "4", "--depth", "7", "--no-eager")
    assert found.problems == ()


def test_everything_wrong_comes_back_at_once(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(PARSER)
    found = describe(str(file), sys.executable, {"size": "big", "depth": "deep", "egaer": True})
    assert len(found.problems) == 3
    assert "did you mean eager" in "".join(found.problems)


def test_a_file_that_imports_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text(PARSER)
    file = tmp_path / "own.py"
    file.write_text("from neighbour import parser\n")
    assert describe(str(file), sys.executable).engine == "Own"


def test_a_module_of_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_module.py").write_text(PARSER)
    monkeypatch.chdir(tmp_path)
    assert describe("own_module", sys.executable).engine == "Own"


def test_a_module_without_parser(tmp_path: Path) -> None:
    file = tmp_path / "plain.py"
    file.write_text("if __name__ == '__main__':\n    print('hello')\n")
    found = describe(str(file), sys.executable)
    assert (found.settings, found.engine, found.deployment) == ({}, "", {})


def test_a_module_that_prints_while_it_is_imported(tmp_path: Path) -> None:
    file = tmp_path / "noisy.py"
    file.write_text(f"print('loading')\n{PARSER}")
    assert describe(str(file), sys.executable).engine == "Own"


def test_a_module_that_fails_to_import(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import sys\nraise RuntimeError('out of cheese')\n")
    assert problem(str(file)) == (
        f"cannot import {file} in {sys.executable}: RuntimeError: out of cheese\n"
        "  fix: install the package that has it there, or name another interpreter with python:"
    )


def test_a_module_that_misses_its_engine(tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text("import no_such_engine\n")
    assert "ModuleNotFoundError: No module named 'no_such_engine'" in problem(str(file))


@pytest.mark.parametrize("component", ["no_such_module_here", "json.no_such_part", "dynamo_frontend.absent"])
def test_a_module_that_is_not_there(component: str) -> None:
    assert problem(component).startswith(
        f"cannot import {component} in {sys.executable}: ModuleNotFoundError: "
    )


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "absent.py"
    assert problem(str(file)).startswith(f"cannot import {file} in {sys.executable}: FileNotFoundError: ")


def test_a_package_that_cannot_be_run() -> None:
    assert "No module named 'dynamo_core.__main__'" in problem("dynamo_core")


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    assert problem("dynamo_frontend", str(tmp_path / "python")) == (
        f"cannot run {tmp_path / 'python'}: No such file or directory\n  fix: check the section's python:"
    )


def test_an_interpreter_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("")
    assert problem("dynamo_frontend", str(tmp_path / "python")).startswith(
        f"cannot run {tmp_path / 'python'}: Permission denied"
    )
