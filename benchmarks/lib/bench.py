"""What a part is given, and what it gives back."""

from __future__ import annotations

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dynamo_core.ports import free_ports
from lib.compare import Alternating, Figure
from lib.machine import Machine
from lib.plot import Plot
from lib.processes import Programs


@dataclass
class Part:
    """The outcome of one part."""

    name: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a reader has to know about how it was measured."""


@dataclass
class Bench:
    """One session."""

    runs: int
    peers: Path
    """Folder with the environments of `tools/install_peers.py`."""
    keep: Path | None = None
    """Where logs stay; thrown away if None."""
    machine: Machine = field(default_factory=Machine)

    def __post_init__(self) -> None:
        self._ports = free_ports()

    @property
    def own_python(self) -> str:
        """Where core, frontend and mocker are, and no engine."""
        return sys.executable

    def python(self, environment: str) -> str:
        return self.command(environment, "python")

    def command(self, environment: str, name: str) -> str:
        """A console script of an environment; `SystemExit` if that is not installed."""
        path = self.peers / environment / "bin" / name
        if not path.exists():
            raise SystemExit(
                f"error: there is no {path}\n  fix: python tools/install_peers.py {self.peers} {environment}"
            )
        return str(path)

    def port(self) -> int:
        return next(self._ports)

    def alternating(self) -> Alternating:
        return Alternating(self.runs, self.machine, self.say)

    @contextlib.contextmanager
    def programs(self, env: dict[str, str] | None = None) -> Iterator[Programs]:
        """A place to start processes in, with a fresh folder."""
        with contextlib.ExitStack() as stack:
            if self.keep is None:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
            else:
                folder = tempfile.mkdtemp(dir=self.keep)
            yield stack.enter_context(Programs(Path(folder), env))

    def say(self, text: str) -> None:
        print(text, flush=True)
