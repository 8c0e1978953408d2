"""The processes that an engine starts, and what they leave behind when they die."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil

from dynamo_core.errors import EngineDead, UserError

T = TypeVar("T")

_ERROR = re.compile(r"\b((?:\w+\.)*\w*(?:Error|Exception|Interrupt)\b: \S.*)")
_TRACEBACK = "Traceback (most recent call last)"
_KEPT_LINES = 2000
_FLAGS, _PF_EXITING = 6, 0x4
"""Where the flags of a process stand in its /proc/PID/stat, behind its name, and one of them; see proc(5)."""
_RESOURCE_TRACKER = "multiprocessing.resource_tracker"


class EngineOutput:
    """What an engine's processes write to stderr: passed on at once, and kept for a while.

    A file descriptor is inherited when a process is started, so that redirecting ours during the
    start of the engine is enough to read along with all of its processes for as long as they live.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._reader = -1
        self._copying = False

    @contextlib.contextmanager
    def captured(self) -> Iterator[None]:
        """Processes started inside are read along with."""
        sys.stderr.flush()
        ours = os.dup(2)
        self._reader, writer = os.pipe()
        os.dup2(writer, 2)
        os.close(writer)
        self._copying = True
        threading.Thread(target=self._copy, args=(self._reader, ours), daemon=True).start()
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(ours, 2)

    def forget(self) -> None:
        """Nothing written so far was the cause of anything."""
        self._lines.clear()

    def first_error(self) -> str | None:
        """The exception at the end of the first traceback, as its process wrote it."""
        self._settle()
        failed = False
        for line in list(self._lines):
            failed = failed or _TRACEBACK in line
            if failed and _TRACEBACK not in line and (match := _ERROR.search(line)):
                return match[1]
        return None

    def _settle(self) -> None:
        """Let the copying thread take what has been written."""
        deadline = time.monotonic() + 1.0
        while self._copying and time.monotonic() < deadline:
            if not select.select([self._reader], [], [], 0.05)[0]:
                return

    def _copy(self, reader: int, target: int) -> None:
        rest = b""
        while data := os.read(reader, 1 << 16):
            os.write(target, data)
            *lines, rest = (rest + data).split(b"\n")
            self._lines.extend(line.decode("utf-8", "replace") for line in lines)
        self._copying = False


class EngineProcesses:
    """Starts an engine in a thread, notices when one of its processes dies, and leaves none behind.

    `on_death` is called on the event loop with the engine's own first error.
    """

    def __init__(self, on_death: Callable[[str], None]) -> None:
        self._on_death = on_death
        self._output = EngineOutput()
        self._known: list[psutil.Process] = []
        self._watched: dict[int, str] = {}
        """File descriptors of processes, and their names; whoever started one stands before it."""
        self._starters: dict[int, int] = {}
        """Process ids, by the file descriptors of what they have started, where both are watched."""
        self._starting: asyncio.Future[Any] | None = None
        self._released = threading.Event()
        self._stopping = False

    async def start(self, build: Callable[[], T]) -> T:
        """Run `build`, which starts the engine, without blocking the event loop; then watch.

        If this is cancelled, the engine's processes are killed by `stop`, which ends `build` too.
        Raises what `build` raises, or `EngineDead` if one of its processes told why.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        self._starting = result

        def report(value: T | None, error: BaseException | None) -> None:
            if result.done():
                return
            if error is not None:
                result.set_exception(error)
            else:
                result.set_result(value)  # type: ignore[arg-type]

        def work() -> None:
            try:
                value, error = build(), None
            except BaseException as caught:
                value, error = None, caught
            with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
                loop.call_soon_threadsafe(report, value, error)
            # Engines ask the kernel to kill their processes when the parent dies, and to the kernel
            # the parent is the thread that started them.
            self._released.wait()

        with self._output.captured():
            threading.Thread(target=work, name="engine-start", daemon=True).start()
            try:
                engine = await result
            except (UserError, EngineDead, asyncio.CancelledError):
                raise
            except Exception as error:
                if cause := self._output.first_error():
                    raise EngineDead(cause) from error
                raise
        self._output.forget()
        self._watch(loop)
        return engine

    def report_death(self) -> None:
        """An engine told that it is dying; called on the event loop."""
        cause = self._output.first_error() or "an engine process reported a failure; its log is above"
        if self._starting is not None and not self._starting.done():
            self._starting.set_exception(EngineDead(cause))
        elif not self._stopping:
            self._on_death(cause)

    async def stop(self, shutdown: Callable[[], None] | None = None, timeout: float = 20.0) -> None:
        """Shut the engine down in order if `timeout` seconds allow it; kill what is left."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        for pidfd in self._watched:
            loop.remove_reader(pidfd)
            os.close(pidfd)
        self._watched.clear()
        self._starters.clear()
        known = {*self._known, *_children()}
        if shutdown is not None:
            done: asyncio.Future[None] = loop.create_future()

            def finished() -> None:
                if not done.done():
                    done.set_result(None)

            def work() -> None:
                try:
                    shutdown()
                finally:
                    with contextlib.suppress(RuntimeError):
                        loop.call_soon_threadsafe(finished)

            threading.Thread(target=work, name="engine-stop", daemon=True).start()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done, timeout)
        for child in {*known, *_children()}:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self._released.set()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._known = _children()
        watched = set()
        for child in self._known:
            with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
                name, starter = f"engine process {child.pid} ({child.name()})", child.ppid()
                pidfd = os.pidfd_open(child.pid)
                self._watched[pidfd] = name
                watched.add(child.pid)
                if starter in watched:
                    self._starters[pidfd] = starter
                loop.add_reader(pidfd, self._died, loop, pidfd)

    def _died(self, loop: asyncio.AbstractEventLoop, pidfd: int) -> None:
        """Tell of the first one that is gone: those that it started go with it, and may be gone before."""
        loop.remove_reader(pidfd)
        starter = self._starters.get(pidfd)
        if self._stopping or (starter is not None and _is_ending(starter)):
            return
        gone = next(fd for fd in self._watched if _is_gone(fd))
        self._on_death(self._output.first_error() or f"{self._watched[gone]} {_ending(gone)}")


def _children() -> list[psutil.Process]:
    """The engine's processes; Python's own helper outlives them in order to clean up."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if _RESOURCE_TRACKER not in " ".join(child.cmdline()):
                found.append(child)
    return found


def _is_ending(pid: int) -> bool:
    """Whether a process has begun to end, or has ended. One with many threads takes its time, in which what
    it has started may be gone already."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return bool(int(stat.rpartition(")")[2].split()[_FLAGS]) & _PF_EXITING)


def _is_gone(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _ending(pidfd: int) -> str:
    """How a process ended; only its parent can know, and only until the engine has asked."""
    try:
        status = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT | os.WNOHANG)
    except ChildProcessError:
        status = None
    if status is None:
        return "is gone without a word: killed by somebody, or by the kernel for lack of memory"
    if status.si_code == os.CLD_EXITED:
        return f"exited with {status.si_status}"
    hint = "; the kernel does that when memory runs out" if status.si_status == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(status.si_status).name}{hint}"
