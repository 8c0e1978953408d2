"""`dynamo` itself, before a command of it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dynamo_core.testing.processes import Running

Dynamo = Callable[..., subprocess.CompletedProcess[str]]
DYNAMO = str(Path(sys.executable).with_name("dynamo"))


def test_an_unknown_command_lists_those_there_are(dynamo: Dynamo) -> None:
    shown = dynamo("frob")
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr.startswith("dynamo: error: unknown command 'frob'\n  fix: give one of run, serve, ")
    assert "\n  fix: did you mean serve?" in dynamo("srve").stderr


def test_what_is_missing_is_what_is_needed(dynamo: Dynamo) -> None:
    shown = dynamo("restart")
    assert shown.returncode == 2
    assert "the following arguments are required: NAME\n" in shown.stderr


@pytest.mark.parametrize("command", ["ps", "stop", "logs", "restart x"])
def test_graphs_that_somebody_else_may_have_registered(tmp_path: Path, dynamo: Dynamo, command: str) -> None:
    folder = tmp_path / f"dynamo-{os.getuid()}-graphs"
    folder.mkdir()
    folder.chmod(0o777)
    shown = dynamo(*command.split(), env={"TMPDIR": str(tmp_path)})
    assert (shown.returncode, shown.stdout) == (2, "")
    assert f"folder of running graphs {folder} is writable by everyone" in shown.stderr


def test_logs_are_those_of_a_graph_and_no_other_files(tmp_path: Path, dynamo: Dynamo) -> None:
    (tmp_path / "elsewhere" / "logs").mkdir(parents=True)
    (tmp_path / "elsewhere" / "logs" / "graph.log").write_text("not yours\n")
    (tmp_path / f"dynamo-{os.getuid()}-graphs").mkdir(mode=0o700)
    shown = dynamo("logs", "../elsewhere", env={"TMPDIR": str(tmp_path)})
    assert (shown.returncode, shown.stdout) == (2, "")
    assert "there is no running graph '../elsewhere'" in shown.stderr


def test_ctrl_c_while_python_loads_a_command(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("import time\n\nprint('loading', flush=True)\ntime.sleep(60)\n")
    serving = Running([DYNAMO, "serve", "graph.yaml"], {"PYTHONPATH": str(tmp_path)})
    serving.wait_for_line("loading")
    assert serving.stop(signal.SIGINT) == -signal.SIGINT
    assert serving.lines == ["loading"]
