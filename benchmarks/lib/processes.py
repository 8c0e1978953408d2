"""Starting and stopping what is measured, and reading what it costs."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

START_LIMIT = 180.0
"""Seconds to a first answer after which something hangs."""
END_LIMIT = 20.0


class Program:
    """A process and its children, in a session of their own; what it writes goes to a file."""

    def __init__(self, argv: Sequence[str], log: Path, env: Mapping[str, str]) -> None:
        self.argv = list(argv)
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **env},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def check(self) -> None:
        """Raise `SystemExit` with the last lines of its log if it has ended."""
        if (code := self.process.poll()) is not None:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
            raise SystemExit(f"{' '.join(self.argv)}\nended with {code}:\n{last}")

    def ask_to_end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Wait for the end; whatever is left of the session after that is killed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_LIMIT)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()


class Programs:
    """What runs together; all of it ends with the `with` block."""

    def __init__(self, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.env = dict(env or {})
        self._programs: list[Program] = []

    def start(self, name: str, *argv: object, env: Mapping[str, str] | None = None) -> Program:
        log = self.folder / f"{name}.log"
        program = Program([str(word) for word in argv], log, {**self.env, **(env or {})})
        self._programs.append(program)
        return program

    def check(self) -> None:
        for program in self._programs:
            program.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for program in reversed(self._programs):
            program.ask_to_end()
        for program in reversed(self._programs):
            program.end()


def wait_for_answer(programs: Programs, port: int, model: str, limit: float = START_LIMIT) -> None:
    """Ask for a completion of one token until there is one; `SystemExit` if a program ends before."""
    deadline = time.monotonic() + limit
    while not answers(port, model):
        programs.check()
        if time.monotonic() > deadline:
            raise SystemExit(f"no answer on port {port} within {limit:g} s; logs are in {programs.folder}")
        time.sleep(0.01)


def answers(port: int, model: str) -> bool:
    """Whether a request for one token is answered."""
    body = json.dumps({"model": model, "prompt": "hi", "max_tokens": 1})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status == 200 and bool(response.read())
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def get(port: int, path: str) -> Any:
    """The JSON at a path; None if nobody answers or it is something else than 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return json.loads(response.read()) if response.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def tree(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def cpu_seconds(*pids: int) -> float:
    """Processor time of processes and their children so far."""
    total = 0.0
    for process in (p for pid in pids for p in tree(pid)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def running_seconds(*pids: int) -> float:
    """The same for what hardly does anything: to the nanosecond, of threads that have not ended."""
    total = 0
    for process in (p for pid in pids for p in tree(pid)):
        for thread in Path(f"/proc/{process.pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(thread.read_text().split()[0])
    return total / 1e9


def megabytes(*pids: int) -> float:
    """Proportional memory (PSS) of processes and their children."""
    total = 0
    for process in (p for pid in pids for p in tree(pid)):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 2**20


def settle(*pids: int, limit: float = 15.0) -> None:
    """Wait until processes have hardly anything to do any more."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        before = cpu_seconds(*pids)
        time.sleep(0.25)
        if cpu_seconds(*pids) - before < 0.03:
            return
