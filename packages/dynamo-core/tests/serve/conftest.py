"""A serve file of its own for each test, and nothing left after it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from serving import Served

from dynamo_core.testing.processes import Stack


@pytest.fixture
def served(stack: Stack, tmp_path: Path) -> Iterator[Served]:
    found = Served(stack, tmp_path)
    try:
        yield found
    finally:
        for process in found.left():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
