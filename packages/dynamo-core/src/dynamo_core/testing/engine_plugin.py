"""Fixtures for an engine package, which says what its engine is in a session fixture named `engine`:

pytest_plugins = ["dynamo_core.testing.engine_checks", "dynamo_core.testing.engine_plugin"]
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from dynamo_core import environment
from dynamo_core.handlers.card import Role
from dynamo_core.testing.engine_checks import CASES, START_TIMEOUT, Reference
from dynamo_core.testing.plugin import stack
from dynamo_core.testing.processes import Running, Stack
from dynamo_core.testing.tiny_model import write_tiny_model, write_tiny_weights

__all__ = ["EngineUnderTest", "reference", "served", "stack", "tiny_model"]


@dataclass(frozen=True)
class EngineUnderTest:
    """How to start an engine small: one request at a time, float32, greedy exactly repeatable."""

    module: str
    """The worker, as for `python -m`."""
    flags: tuple[object, ...]
    core_process: str
    """Part of the name of the process whose death is the engine's."""
    reference: Path
    """A script that reads cases from stdin and prints what the engine alone says, as JSON."""
    env: Mapping[str, str] = field(default_factory=dict)
    half_flags: Mapping[Role, tuple[object, ...]] = field(default_factory=dict)
    """Flags that only a prefill or a decode worker needs here."""

    def start(self, stack: Stack, *flags: object, module: str = "") -> Running:
        """A worker that serves `tiny`; `flags` replace those that every worker here has."""
        name = ("--model", stack.model, "--served-model-name", "tiny")
        return stack.start(module or self.module, *name, *self._without(flags), *flags, env=dict(self.env))

    def start_half(self, stack: Stack, role: Role) -> Running:
        """One half of a pair: the module `prefill` or `decode` beside the worker's."""
        module = f"{self.module.rpartition('.')[0]}.{role}"
        return self.start(stack, *self.half_flags.get(role, ()), module=module)

    def _without(self, replaced: tuple[object, ...]) -> list[object]:
        kept: list[object] = []
        keep = True
        for word in self.flags:
            if str(word).startswith("--"):
                keep = word not in replaced
            if keep:
                kept.append(word)
        return kept


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights."""
    return write_tiny_weights(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture(scope="session")
def reference(engine: EngineUnderTest, tiny_model: Path) -> Reference:
    """What the engine says by itself, from a process that has none of our code."""
    result = subprocess.run(
        [sys.executable, str(engine.reference), str(tiny_model)],
        input=json.dumps([asdict(case) for case in CASES]),
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
        env={**environment.snapshot(), **engine.env},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-4000:]
    answer: Reference = json.loads(result.stdout.splitlines()[-1])
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
