"""An engine that computes nothing, the same for both contestants of the token path.

A step gives one token to every stream, and streams wait for their next token as they do with a real engine.
With `hz`, steps come at that rate however far behind their readers are, as from an engine in another
process. Without, one follows the other as soon as the event loop comes round.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

LETTERS = range(72, 98)
"""Token ids of the tiny model's small letters: in the answer, one character is one token."""
LEAD = 64
"""Tokens by which an unthrottled engine may be ahead of a reader."""


class Stream:
    """What one request has been given and has not read yet."""

    __slots__ = ("left", "ready", "waiting")

    def __init__(self, tokens: int) -> None:
        self.left = tokens
        self.ready: deque[int] = deque()
        self.waiting: asyncio.Future[None] | None = None

    def give(self, token: int) -> None:
        self.left -= 1
        self.ready.append(token)
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(None)


class NullEngine:
    """Make one inside a running event loop."""

    def __init__(self, hz: float = 0.0) -> None:
        self._hz = hz
        self._steps = 0
        self._running: set[Stream] = set()
        self._wanted = asyncio.Event()
        self._task = asyncio.ensure_future(self._at_a_rate() if hz else self._unthrottled())

    async def answer(self, tokens: int) -> AsyncGenerator[int, None]:
        """The tokens of one request, one at a time."""
        stream = Stream(tokens)
        self._run(stream)
        try:
            while stream.left or stream.ready:
                if stream.ready:
                    yield stream.ready.popleft()
                    if not self._hz and stream.left and len(stream.ready) == LEAD - 1:
                        self._run(stream)
                else:
                    stream.waiting = asyncio.get_running_loop().create_future()
                    await stream.waiting
        finally:
            self._running.discard(stream)

    def stop(self) -> None:
        self._task.cancel()

    def _run(self, stream: Stream) -> None:
        self._running.add(stream)
        self._wanted.set()

    async def _at_a_rate(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            await asyncio.sleep(began + (self._steps + 1) / self._hz - loop.time())
            while began + (self._steps + 1) / self._hz <= loop.time():
                self._step()

    async def _unthrottled(self) -> None:
        while True:
            if not self._running:
                self._wanted.clear()
                await self._wanted.wait()
            self._step()
            await asyncio.sleep(0)

    def _step(self) -> None:
        self._steps += 1
        token = LETTERS[self._steps % len(LETTERS)]
        done = []
        for stream in self._running:
            stream.give(token)
            if not stream.left or (not self._hz and len(stream.ready) >= LEAD):
                done.append(stream)
        self._running.difference_update(done)
