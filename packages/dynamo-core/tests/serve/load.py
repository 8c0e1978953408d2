"""Clients that never stop streaming, and what became of each of their requests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import openai

from dynamo_core.testing.processes import Stack

TOKENS = 25
MESSAGES = [{"role": "user", "content": "hi"}]
PAUSE = 0.2
"""Seconds before a client that has failed tries again."""


@dataclass(frozen=True)
class Outcome:
    """One request; times are `time.monotonic()`."""

    began: float
    ended: float
    tokens: int
    error: Exception | None

    @property
    def is_complete(self) -> bool:
        return self.error is None and self.tokens == TOKENS

    @property
    def is_broken(self) -> bool:
        """Whether it failed after its answer had begun."""
        return self.tokens > 0 and not self.is_complete


class Load:
    """So many clients, each with one stream after the other, in the background."""

    def __init__(self, stack: Stack, clients: int = 10, *, retries: int = 0) -> None:
        self.outcomes: list[Outcome] = []
        self._stack = stack
        self._retries = retries
        self._stopping = threading.Event()
        self._news = threading.Condition()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.is_complete]

    @property
    def statuses(self) -> set[int | None]:
        """The HTTP statuses of what has failed; None where nobody answered."""
        return {getattr(outcome.error, "status_code", None) for outcome in self.failed}

    def longest(self, wanted: Callable[[Outcome], bool] = lambda outcome: True) -> float:
        """Seconds of the slowest request."""
        return max((o.ended - o.began for o in self.outcomes if wanted(o)), default=0.0)

    def wait_answered(self, count: int = 10, timeout: float = 20.0) -> float:
        """Wait until so many requests that begin from now on are answered; returns the seconds that the
        first one took to come."""
        now = time.monotonic()

        def answered() -> list[Outcome]:
            return [outcome for outcome in self.outcomes if outcome.began > now and outcome.is_complete]

        with self._news:
            if not self._news.wait_for(lambda: len(answered()) >= count, timeout):
                raise AssertionError(
                    f"{len(answered())} of {count} answered in {timeout} s: {self.failed[-3:]}"
                )
            return min(outcome.ended for outcome in answered()) - now

    def _run(self) -> None:
        client = self._stack.client(max_retries=self._retries, timeout=30.0)
        while not self._stopping.is_set():
            outcome = self._ask(client)
            with self._news:
                self.outcomes.append(outcome)
                self._news.notify_all()
            if not outcome.is_complete:
                self._stopping.wait(PAUSE)

    @staticmethod
    def _ask(client: openai.OpenAI) -> Outcome:
        began, tokens, error = time.monotonic(), 0, None
        try:
            stream = client.chat.completions.create(
                model="scripted", messages=MESSAGES, max_tokens=TOKENS, stream=True
            )
            for chunk in stream:
                tokens += sum(len(choice.delta.content or "") for choice in chunk.choices)
        except openai.OpenAIError as caught:
            error = caught
        return Outcome(began, time.monotonic(), tokens, error)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.wait_answered()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
