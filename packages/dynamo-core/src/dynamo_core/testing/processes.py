"""Components as real processes, started the way a person starts them."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import openai

from dynamo_core import environment
from dynamo_core.ports import free_ports, reserve

LIMIT = 40.0
"""Seconds after which something hangs, also on a machine that runs several tests at a time."""
RESERVED = 50
"""Ports that are kept at a time; a test has ended before so many others are taken."""


def _reserved_ports() -> Iterator[int]:
    held: deque[socket.socket] = deque()
    for port in free_ports():
        try:
            held.append(reserve(port))
        except OSError:  # somebody was quicker
            continue
        if len(held) > RESERVED:
            held.popleft().close()
        yield port


PORTS = _reserved_ports()
"""For all that tests start: nobody else takes what it has given away, though nothing listens there yet."""

END_TIMEOUT = 30.0
"""Seconds that a process may take to end; engines take five of them on a machine with nothing else to do."""


class Running:
    """A process and everything it has written, line by line."""

    known: ClassVar[weakref.WeakSet[Running]] = weakref.WeakSet()
    """Those that somebody still refers to."""

    def __init__(self, argv: Sequence[str], env: dict[str, str] | None = None) -> None:
        self.argv = list(argv)
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**environment.snapshot(), **(env or {})},
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.known.add(self)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for_line(self, pattern: str, timeout: float = LIMIT) -> re.Match[str]:
        """The first match in what the process writes; fails with its output if it ends first."""
        deadline = time.monotonic() + timeout
        seen = 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if match := re.search(pattern, line):
                        return match
                seen = len(self.lines)
                ended = not self._reader.is_alive()
                if ended or not self._news.wait(deadline - time.monotonic()):
                    why = f"ended with {self.process.poll()}" if ended else f"said nothing in {timeout} s"
                    raise AssertionError(f"no line matches {pattern!r}; the process {why}:\n{self.output}")

    def wait(self, timeout: float = LIMIT) -> int:
        """The exit code, once all output is in."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout} s: {self.argv}\n{self.output}") from None
        self._reader.join(5.0)
        return code

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = LIMIT) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.wait(timeout)

    def close(self) -> None:
        """Stop it if it still runs; one that has to be killed fails the test."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(
                    f"ignored SIGTERM for {END_TIMEOUT:g} s: {self.argv}\n{self.output}"
                ) from None
        self._reader.join(5.0)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


class Stack:
    """Components that meet in a discovery folder of their own, with a frontend's port for them."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.discovery = folder / "discovery"
        self.model = model
        self.port = next(PORTS)
        self.running: list[Running] = []

    def start(
        self, module: str, *flags: object, python: str = sys.executable, env: dict[str, str] | None = None
    ) -> Running:
        """Start `python -m module` within this stack."""
        argv = [python, "-m", module, "--discovery-path", self.discovery, *flags]
        process = Running([str(word) for word in argv], env)
        self.running.append(process)
        return process

    def frontend(self, *flags: object) -> Running:
        return self.start("dynamo_frontend", "--http-port", self.port, *flags)

    def scripted(self, *flags: object) -> Running:
        """A worker with the scripted engine that serves `scripted`."""
        name = () if "--served-model-name" in flags else ("--served-model-name", "scripted")
        return self.start("dynamo_core.testing.scripted", "--model", self.model, *name, *flags)

    def ask(self, endpoint: str, *requests: Mapping[str, object], timeout: float = 60.0) -> list[Any]:
        """Send requests straight to an endpoint; for each, its chunks, or `{"error": [kind, message]}`."""
        argv = [sys.executable, "-m", "dynamo_core.testing.ask", "--to", endpoint]
        result = subprocess.run(
            [*argv, "--discovery-path", str(self.discovery), "--log-level", "error"],
            input="\n".join(json.dumps(request) for request in requests),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return [json.loads(line) for line in result.stdout.splitlines()]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def healthy(self) -> bool:
        """Whether the frontend says that a request would be answered now."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def wait_ready(self, timeout: float = LIMIT, *, healthy: bool = True) -> None:
        """Wait until `/health` says so, or stops saying so; fails at once if a process ends."""
        deadline = time.monotonic() + timeout
        while self.healthy() is not healthy:
            for process in self.running:
                if process.process.poll() is not None and healthy:
                    raise AssertionError(f"{process.argv} ended with {process.wait()}:\n{process.output}")
            if time.monotonic() > deadline:
                logs = "\n\n".join(process.output for process in self.running)
                raise AssertionError(f"healthy is not {healthy} after {timeout} s:\n{logs}")
            time.sleep(0.01)

    def instances(self) -> int:
        """How many instances the frontend knows, lost ones whose lease still holds among them."""
        with urllib.request.urlopen(f"{self.url}/health/runtime", timeout=5) as response:
            return len(json.load(response)["instances"])

    def wait_instances(self, count: int, timeout: float = LIMIT) -> None:
        """Wait until the frontend knows this many instances."""
        deadline = time.monotonic() + timeout
        while (found := self.instances()) != count:
            if time.monotonic() > deadline:
                raise AssertionError(f"{found} instances instead of {count} after {timeout} s")
            time.sleep(0.01)

    def client(self, **options: object) -> openai.OpenAI:
        """The official client; it never retries, so that tests see every failure."""
        settings: dict[str, object] = {"max_retries": 0, "timeout": 60.0, **options}
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="none", **settings)  # type: ignore[arg-type]

    def close(self) -> None:
        """Stop everything, the latest first; then fail for what did not stop by itself."""
        failures = []
        for process in reversed(self.running):
            try:
                process.close()
            except AssertionError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
