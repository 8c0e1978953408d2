"""Fixtures for an engine package, which says what its engine is in a session fixture named `engine`:

pytest_plugins = ["dynamo_core.testing.engine_checks", "dynamo_core.testing.engine_plugin"]
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from dynamo_core.testing.engine_checks import CASES, START_TIMEOUT, Reference
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.plugin import pytest_runtest_makereport, stack
from dynamo_core.testing.processes import Stack
from dynamo_core.testing.tiny_model import write_tiny_model, write_tiny_weights

__all__ = ["EngineUnderTest", "pytest_runtest_makereport", "reference", "served", "stack", "tiny_model"]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights."""
    return write_tiny_weights(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(scope="session")
def reference(engine: EngineUnderTest, tiny_model: Path) -> Reference:
    """What the engine says by itself, from a process that has none of our code."""
    assert engine.reference is not None
    answer: Reference = engine.alone(engine.reference, tiny_model, asked=[asdict(case) for case in CASES])
    return answer


@pytest.fixture(scope="session")
def served(
    tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path
) -> Iterator[Stack]:
    """A frontend and one worker, started once."""
    with Stack(tmp_path_factory.mktemp("served"), tiny_model) as running:
        running.frontend()
        engine.start(running)
        running.wait_ready(START_TIMEOUT)
        yield running
