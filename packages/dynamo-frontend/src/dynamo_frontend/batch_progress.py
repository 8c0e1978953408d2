"""How far a batch is: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

from dynamo_frontend.batch_output import Answer

logger = logging.getLogger(__name__)

BAR_INTERVAL = 0.5
LINE_INTERVAL = 10.0
WINDOW = 30.0
"""Seconds over which speed is measured, so that what is shown is the speed of now."""


@dataclass
class Counts:
    """What has become of the requests."""

    total: int
    skipped: int = 0
    """Had an answer from an earlier run."""
    answered: int = 0
    tokens: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """How many failed, by code."""
    is_waiting: bool = False
    """For a model."""
    started: float = field(default_factory=time.monotonic)
    _samples: deque[tuple[float, int, int]] = field(init=False)

    def __post_init__(self) -> None:
        self._samples = deque([(self.started, 0, 0)])

    def add(self, answer: Answer) -> None:
        """Count what came of one request."""
        if answer.code:
            self.failures[answer.code] += 1
            return
        self.answered += 1
        usage = answer.body.get("usage") if isinstance(answer.body, dict) else None
        self.tokens += (usage or {}).get("completion_tokens") or 0

    @property
    def failed(self) -> int:
        return self.failures.total()

    @property
    def finished(self) -> int:
        """In this run or an earlier one."""
        return self.skipped + self.answered + self.failed

    def progress(self) -> str:
        """One line for now, to be called again and again: the speed is that of the last few calls."""
        seconds, done, tokens = self._recently()
        words = [f"{self.finished:,} of {self.total:,}"]
        if seconds and done:
            words += _speed(seconds, done, tokens)
            words.append(f"{_clock(seconds / done * (self.total - self.finished))} left")
        if self.failed:
            words.append(f"{self.failed:,} failed")
        if self.is_waiting:
            words.append("waiting for a model")
        return " · ".join(words)

    def summary(self) -> str:
        """One line for the end."""
        seconds = time.monotonic() - self.started
        words = [f"{self.answered:,} answered in {_clock(seconds)}"]
        if self.answered:
            words += _speed(seconds, self.answered + self.failed, self.tokens)
        if self.skipped:
            words.append(f"{self.skipped:,} had an answer already")
        if self.failed:
            words.append(f"{self.failed:,} failed")
        return " · ".join(words)

    def _recently(self) -> tuple[float, int, int]:
        """Seconds, requests and tokens since the oldest sample in the window."""
        now = (time.monotonic(), self.answered + self.failed, self.tokens)
        self._samples.append(now)
        while len(self._samples) > 2 and now[0] - self._samples[0][0] > WINDOW:
            self._samples.popleft()
        then = self._samples[0]
        return now[0] - then[0], now[1] - then[1], now[2] - then[2]


@contextlib.asynccontextmanager
async def shown(counts: Counts) -> AsyncIterator[None]:
    """Show the counts while the body runs."""
    if is_terminal():
        with _bar(counts) as show:
            async with _repeated(show, BAR_INTERVAL):
                yield
    else:
        async with _repeated(lambda: logger.info("%s", counts.progress()), LINE_INTERVAL):
            yield


def tell(counts: Counts) -> None:
    """The sum of it all."""
    if is_terminal():
        print(counts.summary(), file=sys.stderr)
    else:
        logger.info("%s", counts.summary())


def is_terminal() -> bool:
    """Whether a person watches."""
    return sys.stderr.isatty()


def _speed(seconds: float, requests: int, tokens: int) -> list[str]:
    return [f"{requests / seconds:,.1f} requests/s", f"{tokens / seconds:,.0f} output tokens/s"]


@contextlib.contextmanager
def _bar(counts: Counts) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(bar_width=30), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(file=sys.stderr), auto_refresh=False) as progress:
        task = progress.add_task("", total=counts.total)

        def show() -> None:
            progress.update(task, completed=counts.finished, description=counts.progress(), refresh=True)

        show()
        yield show
        show()


@contextlib.asynccontextmanager
async def _repeated(show: Callable[[], None], seconds: float) -> AsyncIterator[None]:
    async def repeat() -> None:
        while True:
            await asyncio.sleep(seconds)
            show()

    task = asyncio.ensure_future(repeat())
    try:
        yield
    finally:
        task.cancel()


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))
