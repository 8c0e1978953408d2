"""Fixtures for the tests of components: `pytest_plugins = ["dynamo_core.testing.plugin"]`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamo_core.testing.processes import Stack
from dynamo_core.testing.tiny_model import write_tiny_model

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's `&` leaves it, for children too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder without weights."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def stack(tmp_path: Path, tiny_model: Path) -> Iterator[Stack]:
    """An empty stack; what a test starts in it is gone when the test ends."""
    with Stack(tmp_path, tiny_model) as running:
        yield running
