"""`dynamo` itself, before a command of it runs."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

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


def test_ctrl_c_while_python_loads_a_command(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("import time\n\nprint('loading', flush=True)\ntime.sleep(60)\n")
    serving = Running([DYNAMO, "serve", "graph.yaml"], {"PYTHONPATH": str(tmp_path)})
    serving.wait_for_line("loading")
    assert serving.stop(signal.SIGINT) == -signal.SIGINT
    assert serving.lines == ["loading"]
