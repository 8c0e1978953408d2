"""Fixtures for the tests of components: `pytest_plugins = ["dynamo_core.testing.plugin"]`."""

from __future__ import annotations

import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from dynamo_core.testing.processes import Running, Stack
from dynamo_core.testing.tiny_model import write_tiny_model

LINES, WIDTH = 60, 300
"""Of what is shown of a process when a test fails; engines write lines of 20,000 characters."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's `&` leaves it, for children too
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What processes have written last comes with the failure of a test."""
    report = yield
    if report.failed:
        for process in sorted(Running.known, key=lambda process: process.pid):
            tail = "\n".join(line[:WIDTH] for line in process.lines[-LINES:])
            report.sections.append((f"{' '.join(process.argv[1:4])}, process {process.pid}", tail))
    return report


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder without weights."""
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture
def stack(tmp_path: Path, tiny_model: Path) -> Iterator[Stack]:
    """An empty stack; what a test starts in it is gone when the test ends."""
    with Stack(tmp_path, tiny_model) as running:
        yield running
