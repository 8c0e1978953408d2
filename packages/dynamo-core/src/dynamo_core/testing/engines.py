"""How the tests start an engine, as its package says in a file `conformance.toml` beside its modules:

    worker = "dynamo_vllm.worker"
    flags = ["--enforce-eager", "--max-num-seqs", "1"]
    core-process = "EngineCore"

    [environment]
    OMP_NUM_THREADS = "1"

    [halves.decode]
    flags = ["--some-flag"]

    [does-not-apply]
    seeds = "this engine cannot repeat a random choice; a request with a seed is a 400"

Small and exactly repeatable: one request at a time, greedy answers that are the same each time.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from dynamo_core import environment
from dynamo_core.errors import UserError
from dynamo_core.handlers.card import Role
from dynamo_core.testing.processes import Running, Stack

FILE = "conformance.toml"
ALONE_TIMEOUT = 300.0
"""Seconds for a script that starts the engine, asks it, and ends."""
_KEYS = {"worker", "flags", "core-process", "environment", "halves", "does-not-apply", "simulated"}


@dataclass(frozen=True)
class EngineUnderTest:
    """How to start an engine small: one request at a time, float32, greedy exactly repeatable."""

    module: str
    """The worker, as for `python -m`."""
    flags: tuple[object, ...] = ()
    core_process: str = ""
    """Part of the name of the process whose death is the engine's; empty if it is the worker's own."""
    reference: Path | None = None
    """A script that reads cases from stdin and prints what the engine alone says, as JSON."""
    env: Mapping[str, str] = field(default_factory=dict)
    half_flags: Mapping[Role, tuple[object, ...]] = field(default_factory=dict)
    """Flags that only a prefill or a decode worker needs here."""
    does_not_apply: Mapping[str, str] = field(default_factory=dict)
    """Promises that this engine cannot keep, each with the reason."""
    is_simulated: bool = False
    """Whether it makes up its answers, so that it has nothing to refuse either."""

    @classmethod
    def of(cls, package: str, *, reference: Path | None = None, env: Mapping[str, str] | None = None) -> Self:
        """The engine of an installed package. Raises `UserError` if it does not say how to start it."""
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise UserError(f"there is no package {package}", fix="install it in this environment")
        file = Path(spec.submodule_search_locations[0]) / FILE
        if not file.is_file():
            raise UserError(
                f"{package} does not say how to start its engine for tests", fix=f"add a file {file}"
            )
        try:
            data = tomllib.loads(file.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{file}: {error}") from None
        if unknown := sorted(data.keys() - _KEYS):
            raise UserError(f"{file}: unknown key {unknown[0]!r}; known are {', '.join(sorted(_KEYS))}")
        return cls(
            module=data.get("worker", f"{package}.worker"),
            flags=tuple(data.get("flags", ())),
            core_process=data.get("core-process", ""),
            reference=reference,
            env={**data.get("environment", {}), **(env or {})},
            half_flags={role: tuple(half["flags"]) for role, half in data.get("halves", {}).items()},
            does_not_apply=data.get("does-not-apply", {}),
            is_simulated=data.get("simulated", False),
        )

    def has(self, role: Role) -> bool:
        """Whether the package has a component for this half of a pair."""
        return importlib.util.find_spec(self.module_of(role)) is not None

    def module_of(self, role: Role) -> str:
        """The module `prefill` or `decode` beside the worker's."""
        return f"{self.module.rpartition('.')[0]}.{role}"

    def start(self, stack: Stack, *flags: object, module: str = "") -> Running:
        """A worker that serves `tiny`; `flags` replace those that every worker here has."""
        name = ("--model", stack.model, "--served-model-name", "tiny")
        return stack.start(module or self.module, *name, *self._without(flags), *flags, env=dict(self.env))

    def start_half(self, stack: Stack, role: Role, *flags: object) -> Running:
        """One half of a pair."""
        return self.start(stack, *self.half_flags.get(role, ()), *flags, module=self.module_of(role))

    def alone(self, script: Path, *words: object, asked: Any) -> Any:
        """What the engine says by itself: `script`, which has none of our code, reads `asked` as JSON from
        stdin and prints an object, or a list of lists, on one line."""
        result = subprocess.run(
            [sys.executable, str(script), *map(str, words)],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=ALONE_TIMEOUT,
            env={**environment.snapshot(), **self.env},
            check=False,
        )
        assert result.returncode == 0, result.stderr[-4000:]
        said = [line for line in result.stdout.splitlines() if line.startswith(('{"', "[["))]
        return json.loads(said[-1])

    def _without(self, replaced: tuple[object, ...]) -> list[object]:
        kept: list[object] = []
        keep = True
        for word in self.flags:
            if str(word).startswith("--"):
                keep = word not in replaced
            if keep:
                kept.append(word)
        return kept
