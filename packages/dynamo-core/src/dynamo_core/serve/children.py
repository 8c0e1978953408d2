"""The processes of a plan as the operating system has them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from typing import Protocol

import psutil

from dynamo_core import environment
from dynamo_core.deploy.process import Process

_PR_SET_CHILD_SUBREAPER = 36
_GUARD = "dynamo_core.serve.guard"
_prctl = ctypes.CDLL(None).prctl
LAST_CHORES = 0.5
"""Seconds that what a process has started gets to end by itself after it, as Python's own
resource tracker does once it has removed what was left in shared memory."""
CHORES_INTERVAL = 0.02


class Child(Protocol):
    """One life of a process."""

    @property
    def pid(self) -> int: ...

    @property
    def output(self) -> int | None:
        """The file descriptor that it writes to, to be read; None if it writes to our terminal."""

    async def exited(self) -> int:
        """Wait for its end, and end what it left behind; the code is negative for a signal."""

    def interrupt(self) -> None:
        """Hand on a Ctrl-C."""

    def terminate(self) -> None:
        """Ask it to end; what it has started is its own to end."""

    def kill(self) -> None:
        """End it and its group."""


class Spawner(Protocol):
    """Creates processes, and sees to it that none outlives us."""

    def start(self, process: Process) -> Child:
        """Create one. Raises `OSError`."""

    def forget(self, child: Child) -> None:
        """This one has ended; end what may be left of it."""

    def reap(self) -> None:
        """A child of ours, or one that we have inherited, has ended."""


class LocalChild:
    """A process of this machine, in a session and process group of its own."""

    def __init__(
        self, process: Process, announce: Callable[[], None], expect_orphans: Callable[[int], None]
    ) -> None:
        """`announce` is called in the new process before its program is loaded, `expect_orphans` with its
        id before it is asked to end."""
        self._expect_orphans = expect_orphans
        environ = {**environment.snapshot(), **process.env, **process.secrets}
        reader, writer = (None, None) if process.foreground else os.pipe()
        try:
            self._process = subprocess.Popen(
                process.argv,
                env=environ,
                stdin=None if process.foreground else subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                start_new_session=True,
                preexec_fn=announce,
            )
        except OSError:
            if reader is not None:
                os.close(reader)
            raise
        finally:
            if writer is not None:
                os.close(writer)
        self.output = reader

    @property
    def pid(self) -> int:
        return self._process.pid

    async def exited(self) -> int:
        await _gone(self.pid)
        deadline = time.monotonic() + LAST_CHORES
        while _group_without_leader(self.pid) and time.monotonic() < deadline:
            await asyncio.sleep(CHORES_INTERVAL)
        self.kill()  # the group cannot be another one yet: its leader has not been waited for
        return self._process.wait()

    def interrupt(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        self._expect_orphans(self.pid)
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


class LocalSpawner:
    """Starts processes here. A guard process ends all of them if this one is killed."""

    def __init__(self) -> None:
        self.running: set[int] = set()
        self._inherited: set[int] = set()
        """Groups of orphans that the guard was told of."""
        self._told, self._telling = os.pipe()  # kept open at both ends, so that guards can follow one another
        self._start_guard()

    def close(self) -> None:
        """End what is left, then the guard."""
        _kill_orphans({self._guard.pid})
        os.close(self._telling)
        os.close(self._told)
        self._guard.wait()

    def _start_guard(self) -> None:
        for group in self.running | self._inherited:
            self._tell("+", group)
        self._guard = subprocess.Popen(
            [sys.executable, "-m", _GUARD], stdin=self._told, start_new_session=True
        )

    def start(self, process: Process) -> LocalChild:
        # The new process announces itself: this one may be killed before it could.
        child = LocalChild(process, lambda: self._tell("+", os.getpid()), self._expect_orphans)
        self.running.add(child.pid)
        return child

    def forget(self, child: Child) -> None:
        self.running.discard(child.pid)
        self._tell("-", child.pid)
        _kill_orphans({*self.running, self._guard.pid})
        for group in tuple(self._inherited):
            if not _has_members(group):
                self._disown(group)

    def _expect_orphans(self, pid: int) -> None:
        """Tell the guard of what a process leaves to us when it ends: we may be killed before we could."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(pid).children(recursive=True):
                with contextlib.suppress(ProcessLookupError):
                    self._inherit(os.getpgid(process.pid))

    def _tell(self, what: str, group: int) -> None:
        os.write(self._telling, f"{what}{group}\n".encode())

    def reap(self) -> None:
        """Collect orphans that have ended, and tell the guard of the others, which a subreaper inherits when
        the process that has started them ends; replace a guard that somebody has killed."""
        if (self._guard.poll() or 0) < 0:  # one that ends by itself would do so again
            self._start_guard()
        for process in _children():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError, ChildProcessError):
                if process.pid in (*self.running, self._guard.pid):
                    continue
                if process.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(process.pid, os.WNOHANG)
                    self._disown(process.pid)
                else:
                    self._inherit(os.getpgid(process.pid))

    def _inherit(self, group: int) -> None:
        if group not in self._inherited and group not in self.running:
            self._inherited.add(group)
            self._tell("+", group)

    def _disown(self, group: int) -> None:
        if group in self._inherited:
            self._inherited.discard(group)
            self._tell("-", group)


@contextlib.contextmanager
def local_spawner() -> Iterator[LocalSpawner]:
    """A spawner whose processes end with this one, however it ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    with contextlib.closing(LocalSpawner()) as spawner:
        yield spawner


def _children() -> list[psutil.Process]:
    return psutil.Process().children()


def _kill_orphans(known: Collection[int]) -> None:
    """End what has outlived its parent, and all that it has started."""
    for orphan in _children():
        if orphan.pid in known:
            continue
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in (*orphan.children(recursive=True), orphan):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


def _has_members(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _group_without_leader(group: int) -> bool:
    """Whether a process group has a member besides the one that leads it."""
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError):
            if pid != group and os.getpgid(pid) == group:
                return True
    return False


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
