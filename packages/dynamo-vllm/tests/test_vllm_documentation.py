"""What docs/settings.md shows of a vLLM worker is what it prints."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


def run(command: str) -> subprocess.CompletedProcess[str]:
    """A command of the page, from the folder that it is written for."""
    words = shlex.split(command, comments=True)
    variables = dict(word.split("=") for word in words if re.match(r"[A-Z_]+=", word))
    argv = words[len(variables) :]
    assert argv[0] == "dynamo-vllm-worker"
    argv = [sys.executable, "-m", "dynamo_vllm.worker", *argv[1:]]
    env = {name: value for name, value in os.environ.items() if name != "TEAM"} | variables
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT, env=env)


def commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if "dynamo-vllm-worker" in line]


def test_the_worked_example() -> None:
    command = next(line for line in commands() if "--show-config" in line)
    shown = re.search(rf"{re.escape(command)}\n```\n\n```\n(.*?)```", PAGE, re.DOTALL)
    assert shown
    result = run(command)
    assert result.returncode == 0, result.stderr
    printed = [" ".join(line.split()) for line in result.stdout.splitlines()]
    for line in shown[1].splitlines():
        assert " ".join(line.split()) in printed


def test_the_file_of_the_example_is_the_one_shown() -> None:
    file = (ROOT / "docs/worker.yaml").read_text(encoding="utf-8")
    assert f"```yaml\n{file.partition(chr(10))[2]}```" in PAGE


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("engine", "--tensor-parallel-size, -tp"),
        ("max-model-len", "--max-model-len"),
        ("runtime", "--discovery-backend"),
        ("log-level", "allowed: debug, info, warning, error"),
    ],
)
def test_help_by_topic(topic: str, text: str) -> None:
    command = next(line for line in commands() if f"--help={topic}" in line)
    result = run(command)
    assert result.returncode == 0, result.stderr
    assert text in result.stdout


def test_a_part_of_a_larger_value() -> None:
    assert "`compilation-config.mode: 0`" in PAGE
    result = run("dynamo-vllm-worker --model m --compilation-config.mode 0 --show-config")
    assert result.returncode == 0, result.stderr
    assert re.search(r"^compilation-config\.mode += ", result.stdout, re.MULTILINE)
