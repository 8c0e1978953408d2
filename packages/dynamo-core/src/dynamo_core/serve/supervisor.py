"""Starts the processes of a plan, waits until they are ready, and stops them all."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import http.client
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from typing import cast

import psutil

from dynamo_core import environment
from dynamo_core.deploy.plan import Plan, Process
from dynamo_core.ports import check_port
from dynamo_core.serve.output import LIMIT, Printer, pump

PROBE_INTERVAL = 0.1
"""Seconds between two questions for readiness."""
STOP_MARGIN = 5.0
"""Seconds that a process gets to end after the drain budget."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_GUARD = "dynamo_core.serve.guard"


class Child:
    """One running process of a plan."""

    def __init__(
        self,
        plan: Process,
        process: asyncio.subprocess.Process,
        output: asyncio.StreamReader,
        printer: Printer,
    ) -> None:
        self.plan = plan
        self.process = process
        self.last: deque[str] = deque(maxlen=20)
        self.ready = False
        self._output = asyncio.ensure_future(pump(output, plan.name, printer, self.last))

    @classmethod
    async def start(cls, plan: Process, printer: Printer) -> Child:
        process = await asyncio.create_subprocess_exec(
            *plan.argv,
            env={**environment.snapshot(), **plan.env, **plan.secrets},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LIMIT,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
        return cls(plan, process, cast(asyncio.StreamReader, process.stdout), printer)

    @property
    def faces_clients(self) -> bool:
        """Whether it is asked for readiness on the port that its clients use."""
        return bool(self.plan.ready_url) and "--status-port" not in self.plan.argv

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    async def exited(self) -> int:
        """Wait until the process is gone, end what it left behind, and print all that was written."""
        await _gone(self.process.pid)
        self.kill()
        code = await self.process.wait()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._output), 1.0)
        return code

    def terminate(self) -> None:
        """Ask the process to end; what it has started is its own to end."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()

    def kill(self) -> None:
        """End the process and its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    async def wait_ready(self) -> None:
        """Return once the process says that it is ready; one that cannot tell is ready at once."""
        while self.plan.ready_url and not await asyncio.to_thread(_answers, self.plan.ready_url):
            await asyncio.sleep(PROBE_INTERVAL)
        self.ready = True


class Supervisor:
    """Runs a plan: all of it, or none.

    When one process ends by itself the others are stopped; the exit code is that of the first one
    that failed. SIGINT and SIGTERM stop everything in order: what listens for clients first, so that
    streams in flight end while their workers still run. A second signal kills. A guard process ends
    all of them if this one is killed.
    """

    def __init__(self, plan: Plan, *, start_timeout: float, printer: Printer | None = None) -> None:
        self.plan = plan
        self.start_timeout = start_timeout
        self.drain_timeout = max((process.drain_timeout for process in plan.processes), default=0.0)
        self.printer = printer or Printer()
        self.children: list[Child] = []
        self._signals = 0
        self._asked = asyncio.Event()

    async def run(self) -> int:
        """Run until something ends it; returns the exit code."""
        self.printer.reserve([*(process.name for process in self.plan.processes), "serve"])
        for process in self.plan.processes:
            _check_ready_port(process)
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        with self._handle_signals(), _guard() as guard:
            try:
                for process in self.plan.processes:
                    self._say(f"{process.name}: {process.command()}")
                    self.children.append(await Child.start(process, self.printer))
                    guard(self.children[-1].process.pid)
                return await self._watch()
            finally:
                await self._stop()

    async def _watch(self) -> int:
        began = time.monotonic()
        asked = asyncio.ensure_future(self._asked.wait())
        exits = {asyncio.ensure_future(child.exited()): child for child in self.children}
        ready = asyncio.ensure_future(self._all_ready())
        try:
            await asyncio.wait(
                {asked, ready, *exits}, timeout=self.start_timeout, return_when=asyncio.FIRST_COMPLETED
            )
            if ready.done():
                self._say(f"ready after {time.monotonic() - began:.1f} s {self._addresses()}".rstrip())
                await asyncio.wait({asked, *exits}, return_when=asyncio.FIRST_COMPLETED)
            return self._verdict(asked.done(), {c: t.result() for t, c in exits.items() if t.done()})
        finally:
            for task in (asked, ready, *exits):
                task.cancel()

    async def _all_ready(self) -> None:
        await asyncio.gather(*(child.wait_ready() for child in self.children))

    def _verdict(self, asked: bool, exited: dict[Child, int]) -> int:
        for child, code in exited.items():
            words = f"; its last words: {_last(child)}" if code else ""
            self._say(f"{child.plan.name} ended {_describe(code)}{words}")
        codes = [code for code in exited.values() if code != 0]
        if codes:
            return codes[0] if codes[0] > 0 else 1
        if asked or exited:
            return 0
        late = ", ".join(child.plan.name for child in self.children if not child.ready)
        self._say(f"not ready after {self.start_timeout:g} s: {late}")
        return 1

    async def _stop(self) -> None:
        running = [child for child in self.children if child.running]
        if running:
            self._say(f"stopping {', '.join(child.plan.name for child in running)}")
        deadline = time.monotonic() + self.drain_timeout + STOP_MARGIN
        for children in ([c for c in running if c.faces_clients], self.children):
            for child in children:
                child.terminate()
            ends = [asyncio.ensure_future(child.exited()) for child in children]
            if not ends:
                continue
            _, late = await asyncio.wait(ends, timeout=max(0.0, deadline - time.monotonic()))
            if late:
                for child in children:
                    child.kill()
                await asyncio.wait(late)
        _kill_orphans()

    def _addresses(self) -> str:
        return ", ".join(c.plan.ready_url.removesuffix("/health") for c in self.children if c.faces_clients)

    def _say(self, text: str) -> None:
        self.printer.line("serve", text)

    @contextlib.contextmanager
    def _handle_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def on_signal() -> None:
            self._signals += 1
            self._asked.set()
            if self._signals > 1:
                for child in self.children:
                    child.kill()

        numbers = (signal.SIGINT, signal.SIGTERM)
        for number in numbers:
            loop.add_signal_handler(number, on_signal)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def _answers(url: str) -> bool:
    """Whether a GET is answered with 200. The certificate is our own child's, so it is not checked."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with urllib.request.urlopen(url, timeout=2.0, context=context) as response:
            return bool(response.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def _check_ready_port(process: Process) -> None:
    """A stranger's answer on the port would pass for ours. Raises `UserError`."""
    url = urllib.parse.urlsplit(process.ready_url)
    if url.hostname and url.port:
        setting = "status-port" if "--status-port" in process.argv else "http-port"
        check_port(url.hostname, url.port, f"{process.name.partition('/')[0]}.{setting}")


@contextlib.contextmanager
def _guard() -> Iterator[Callable[[int], None]]:
    """Run the guard; yields a function that tells it of a process."""
    command = [sys.executable, "-m", _GUARD]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True)

    def tell(pid: int) -> None:
        if guard.stdin is not None:
            guard.stdin.write(f"{pid}\n")
            guard.stdin.flush()

    try:
        yield tell
    finally:
        if guard.stdin is not None:
            guard.stdin.close()
        guard.wait()


async def _gone(pid: int) -> None:
    """Wait for the end of a process, whoever may still hold its output."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)


def _kill_orphans() -> None:
    """End what has outlived its parent; a subreaper inherits such processes."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if _GUARD not in process.cmdline():
                process.kill()


def _die_with_parent() -> None:
    """Runs in the child before its program: SIGTERM when the supervisor is gone, however it went."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value)


def _describe(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


def _last(child: Child) -> str:
    """The error that a process ended with, or else the last thing it wrote."""
    lines = [line for line in reversed(child.last) if line.strip()]
    return next((line for line in lines if "error: " in line), lines[0] if lines else "(it wrote nothing)")
