"""The README's first command, as far as it does not install: a real model answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dynamo_core.ports import free_ports

ROOT = Path(__file__).resolve().parent.parent


def test_the_quickstart_answers_with_paris() -> None:
    port = next(free_ports())
    command = [sys.executable, str(ROOT / "examples" / "quickstart" / "quickstart.py"), "--once"]
    result = subprocess.run(
        [*command, "--http-port", str(port)], capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    question = result.stdout.index("What is the capital of France?\n")
    assert "Paris" in result.stdout[question:].splitlines()[1]
    assert f"curl http://127.0.0.1:{port}/v1/chat/completions" in result.stdout
