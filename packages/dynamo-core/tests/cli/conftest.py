"""Commands as a person types them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from dynamo_core import environment

Dynamo = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def dynamo() -> Dynamo:
    """Run `dynamo …`, with the variables of `env` besides; None among them is one that is not set."""

    def run(*words: object, env: dict[str, str | None] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dynamo_core.cli.main", *(str(word) for word in words)]
        merged = {**environment.snapshot(), **(env or {})}
        present = {name: value for name, value in merged.items() if value is not None}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=present)

    return run
