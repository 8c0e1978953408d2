"""`dynamo serve` as a person starts it, and what it leaves behind."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil

from dynamo_core.testing.processes import Running, Stack

DYNAMO = Path(sys.executable).with_name("dynamo")


class Served:
    """A serve file in a folder of its own, for as many runs as a test needs."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.file = folder / "graph.yaml"
        self.temporary = folder / "tmp"
        """Where the graphs of this test are registered, apart from everybody else's."""
        self.temporary.mkdir()

    def component(self, name: str, source: str) -> Path:
        """A throwaway component, named in the serve file by its file."""
        path = self.folder / name
        path.write_text(source)
        return path

    def write(self, text: str) -> Path:
        """Write the serve file; frontends and workers in it meet in the stack's folder."""
        common = {
            "discovery-path": self.stack.discovery,
            "http-port": self.stack.port,
            "model": self.stack.model,
        }
        lines = [f"  {key}: {value}" for key, value in common.items()]
        used = [line for line, key in zip(lines, common, strict=True) if self._is_used(key, text)]
        self.file.write_text("\n".join(["Common:", *used, text]) if used else text)
        return self.file

    def serve(self, *words: object, env: dict[str, str] | None = None) -> Running:
        """Run `dynamo serve` on the file."""
        return self.dynamo("serve", self.file, *words, env=env)

    def dynamo(self, *words: object, env: dict[str, str] | None = None) -> Running:
        """Run a command of `dynamo`."""
        environ = {"TMPDIR": str(self.temporary), **(env or {})}
        process = Running([str(DYNAMO), *(str(word) for word in words)], environ)
        self.stack.running.append(process)
        return process

    def left(self) -> list[psutil.Process]:
        """Processes that have something of this test in their command line."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if str(self.folder) in " ".join(process.info["cmdline"] or []):
                found.append(process)
        return found

    def wait_until_nothing_is_left(self, timeout: float = 30.0) -> None:
        deadline = time.monotonic() + timeout
        while left := self.left():
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"still there after {timeout} s: {[process.cmdline() for process in left]}"
                )
            psutil.wait_procs(left, timeout=0.1)

    @staticmethod
    def _is_used(key: str, text: str) -> bool:
        if "dynamo_frontend" in text:
            return key != "model" or "dynamo_core.testing.scripted" in text
        return "dynamo_core.testing.scripted" in text and key != "http-port"
