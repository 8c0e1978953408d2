from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Logprob:
    logprob: float
    rank: int | None = None


class IterationResult:
    """What is in the queue now, or comes within `timeout` seconds; with none left, 0 raises as published."""

    def __init__(self, queue: deque[dict[str, Any]], timeout: float | None) -> None:
        self._queue = queue
        self._timeout = timeout

    def __aiter__(self) -> IterationResult:
        return self

    async def __anext__(self) -> dict[str, Any]:
        if not self._queue and self._timeout == 0:
            raise asyncio.QueueEmpty
        try:
            async with asyncio.timeout(self._timeout):
                while not self._queue:
                    await asyncio.sleep(0.001)
        except TimeoutError:
            raise StopAsyncIteration from None
        return self._queue.popleft()
