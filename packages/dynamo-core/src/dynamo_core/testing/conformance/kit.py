"""The kit as a part of an engine package's own tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dynamo_core import environment

MODULE = "dynamo_core.testing.conformance"
TIMEOUT = 1200.0
"""Seconds; a real engine is started six times, which takes minutes each on a small machine."""


@dataclass(frozen=True)
class Result:
    """What came of a run."""

    code: int
    """pytest's exit code: 0 if every promise was kept or has a reason, 1 if one was broken."""
    outcomes: Mapping[str, str]
    """`kept`, `broken`, `refused by name` or `does not apply` for each promise by name."""
    output: str


def run_kit(package: str, folder: Path, *words: str, env: Mapping[str, str] | None = None) -> Result:
    """Run the kit on an engine package in a process of its own, with `words` for pytest, and in `folder`."""
    file = folder / "conformance.json"
    command = [sys.executable, "-m", "pytest", "--pyargs", MODULE, "--engine", package]
    result = subprocess.run(
        [*command, "--conformance-json", str(file), *words],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=folder,
        env={**environment.snapshot(), "PYTEST_ADDOPTS": "", **(env or {})},
        check=False,
    )
    found = outcomes(file) if file.exists() else {}
    return Result(result.returncode, found, result.stdout + result.stderr)


def outcomes(file: Path) -> dict[str, str]:
    """The outcome of each promise by name, from what `--conformance-json` has written."""
    promises = json.loads(file.read_text(encoding="utf-8"))["promises"]
    return {name: row["outcome"] for name, row in promises.items()}
