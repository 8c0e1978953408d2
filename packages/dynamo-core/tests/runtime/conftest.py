"""Throwaway components as real processes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dynamo_core.testing.processes import Running, Stack

COMPONENTS = Path(__file__).parent / "components"
Calls = list[dict[str, Any]]


def start(stack: Stack, name: str, *words: object) -> Running:
    """Start a component's file within a stack; it finds the others by its environment alone."""
    argv = [sys.executable, str(COMPONENTS / name), *(str(word) for word in words)]
    process = Running(argv, {"DYN_FILE_KV": str(stack.discovery)})
    stack.running.append(process)
    return process


def results(caller: Running) -> list[dict[str, Any]]:
    """What a caller has printed, once it is done."""
    assert caller.wait() == 0, caller.output
    return [json.loads(line) for line in caller.lines if line.startswith("{")]


@pytest.fixture(scope="session")
def component() -> Callable[..., Running]:
    return start


@pytest.fixture(scope="session")
def ask() -> Callable[[Stack, str, Calls], list[dict[str, Any]]]:
    """Send requests from another process; returns what came of each."""
    return lambda stack, path, calls: results(start(stack, "caller.py", path, json.dumps(calls)))
