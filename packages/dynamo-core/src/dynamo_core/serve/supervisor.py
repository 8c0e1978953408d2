"""Runs a plan on this machine: does what the director orders, and tells it what happens."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from dynamo_core.deploy.process import Process
from dynamo_core.serve.children import Child, Spawner
from dynamo_core.serve.director import Director, Kill, Member, Order, Say, Start, Terminate
from dynamo_core.serve.lines import LineReader
from dynamo_core.serve.output import Sink
from dynamo_core.serve.probe import answers

PROBE_INTERVAL = 0.1
"""Seconds between two questions for readiness."""
REDRAW_INTERVAL = 0.5
LAST_OUTPUT = 1.0
"""Seconds that the output of an ended process is waited for, in case somebody else holds it."""
KEPT_LINES = 40
KEPT_LENGTH = 2000
INSISTING = 2.0
PATIENCE = 3
"""Ctrl-C that often within `INSISTING` seconds means us, and not the process that has the terminal."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
OURS = "serve"
"""The name under which the supervisor itself speaks."""


@dataclass
class Life:
    """One process from its start to its end."""

    child: Child
    reader: LineReader | None
    last: deque[str]

    @property
    def last_words(self) -> str:
        """The error that it ended with, or else the last thing it wrote; what went to our terminal is not
        known, and has been read there."""
        if self.reader is None:
            return ""
        lines = [line for line in reversed(self.last) if line.strip()]
        return next(
            (line for line in lines if "error: " in line), lines[0] if lines else "(it wrote nothing)"
        )


class Supervisor:
    """Runs a plan until it has ended for good.

    SIGINT, SIGTERM and SIGHUP stop everything in order, a second one kills. `show` is called with
    all members whenever something has changed, and about twice a second until all are ready.
    """

    def __init__(
        self,
        director: Director,
        spawner: Spawner,
        sink: Sink,
        *,
        clock: Callable[[], float] = time.monotonic,
        show: Callable[[Supervisor], None] = lambda supervisor: None,
        probe: Callable[[str], Awaitable[bool]] = answers,
    ) -> None:
        self.director = director
        self.clock = clock
        self._spawner = spawner
        self._sink = sink
        self._show = show
        self._probe = probe
        self._lives: dict[str, Life] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._defect: BaseException | None = None
        self._changed = asyncio.Event()
        self._interrupts: list[float] = []

    @property
    def members(self) -> Collection[Member]:
        return self.director.members.values()

    async def run(self) -> int:
        """Run until everything has ended; returns the exit code."""
        with self._signal_handlers():
            try:
                self._do(self.director.begin(self.clock()))
                while (code := self.director.exit_code) is None:
                    await self._pause()
                    if self._defect:
                        raise self._defect
                    self._perform(self.director.tick(self.clock()))
                    self._show(self)
                return code
            finally:
                await self._abandon()

    def say(self, text: str) -> None:
        """Tell the user."""
        self._sink.lines(OURS, text.split("\n"))

    def stop(self, why: str) -> None:
        """Stop everything in order, then come to the end of `run`."""
        self._do(self.director.stop(self.clock(), why))

    def restart(self, names: Collection[str]) -> None:
        """Restart processes one after the other."""
        self._do(self.director.restart(names, self.clock()))

    def partial(self, name: str) -> str:
        """The line that a process has not finished yet."""
        life = self._lives.get(name)
        return life.reader.partial if life and life.reader else ""

    def pid(self, name: str) -> int | None:
        life = self._lives.get(name)
        return life.child.pid if life else None

    async def _pause(self) -> None:
        """Sleep until something has happened or a deadline comes."""
        now = self.clock()
        wake_at = self.director.wake_at
        timeout = None if wake_at is None else max(0.0, wake_at - now)
        if self.director.ready_at is None:
            timeout = REDRAW_INTERVAL if timeout is None else min(timeout, REDRAW_INTERVAL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), timeout)
        self._changed.clear()

    def _do(self, orders: list[Order]) -> None:
        """Do what an event has led to, and wake `run` to look at what has changed."""
        self._perform(orders)
        self._changed.set()

    def _perform(self, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case Say(text):
                    self.say(text)
                case Start(name):
                    self._start(self.director.members[name].process)
                case Terminate(name) if name in self._lives:
                    self._lives[name].child.terminate()
                case Kill(name) if name in self._lives:
                    self._lives[name].child.kill()

    def _start(self, process: Process) -> None:
        self.say(f"{process.name}: {process.command()}")
        try:
            child = self._spawner.start(process)
        except OSError as error:
            why = f"cannot run {process.argv[0]}: {error.strerror}"
            self._do(self.director.cannot_start(process.name, why, self.clock()))
            return
        last: deque[str] = deque(maxlen=KEPT_LINES)

        def take(lines: list[str]) -> None:
            last.extend(line[:KEPT_LENGTH] for line in lines[-KEPT_LINES:])
            self._sink.lines(process.name, lines)

        reader = None if child.output is None else LineReader(child.output, take, lambda: self._sink.has_room)
        life = self._lives[process.name] = Life(child, reader, last)
        self._watch(self._live(process.name, life))
        self._watch(self._wait_ready(process, life))

    async def _live(self, name: str, life: Life) -> None:
        code = await life.child.exited()
        if life.reader is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(life.reader.ended.wait(), LAST_OUTPUT)
            life.reader.close()
        del self._lives[name]
        self._spawner.forget(life.child)
        self._do(self.director.exited(name, code, life.last_words, self.clock()))

    async def _wait_ready(self, process: Process, life: Life) -> None:
        """Tell once this life of the process does its work; one that cannot tell does so at once."""
        while process.ready_url and not await self._probe(process.ready_url):
            await asyncio.sleep(PROBE_INTERVAL)
            if self._lives.get(process.name) is not life:
                return
        if self._lives.get(process.name) is life:
            self._do(self.director.ready(process.name, self.clock()))

    def _watch(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._unwatch)

    def _unwatch(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._defect = self._defect or error
            self._changed.set()

    async def _abandon(self) -> None:
        """Leave nothing running, whatever brought us here."""
        for life in list(self._lives.values()):
            life.child.kill()
        for name in list(self._lives):
            await self._lives[name].child.exited()
        for task in list(self._tasks):
            task.cancel()

    @contextlib.contextmanager
    def _signal_handlers(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        numbers = [number for number in STOP_SIGNALS if number != signal.SIGHUP or not under_nohup]
        for number in numbers:
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGCHLD, self._spawner.reap)
        try:
            yield
        finally:
            for number in (*numbers, signal.SIGCHLD):
                loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        now = self.clock()
        self._interrupts = [moment for moment in self._interrupts if now - moment < INSISTING] + [now]
        foreground = [life for life in self._lives.values() if life.reader is None]
        if number == signal.SIGINT and foreground and len(self._interrupts) < PATIENCE:
            for life in foreground:  # it decides what Ctrl-C means, as alone in a terminal
                life.child.interrupt()
        elif not self.director.stopping:
            self.stop("Ctrl-C" if number == signal.SIGINT else number.name)
        else:
            self.say("killing what still runs")
            self._do(self.director.kill(self.clock()))
