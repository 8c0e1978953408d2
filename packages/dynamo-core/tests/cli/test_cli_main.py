"""`dynamo` itself, before a command of it runs."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from dynamo_core.testing.processes import Running

DYNAMO = str(Path(sys.executable).with_name("dynamo"))


def test_ctrl_c_while_python_loads_a_command(tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("import time\n\nprint('loading', flush=True)\ntime.sleep(60)\n")
    serving = Running([DYNAMO, "serve", "graph.yaml"], {"PYTHONPATH": str(tmp_path)})
    serving.wait_for_line("loading")
    assert serving.stop(signal.SIGINT) == -signal.SIGINT
    assert serving.lines == ["loading"]
