"""How answers leave this process.

The Rust runtime takes chunks in two ways. It asks the handler for each, which costs a task on the event loop
and two turns of the interpreter lock on its own threads; or a handler with a parameter `response_sender`
pushes them, for a fifth of that. But `ResponseSender.send` blocks while a client is some megabytes behind,
and on the event loop one such client would stop all others. So chunks are sent by a thread, the lane: all
that is ready for a request, as one chunk if it can be. A lane that is stuck stays with the client that it
waits for, and the others get a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from dynamo_core.runtime.outbox import Outbox

STUCK_AFTER = 0.1
"""Seconds in one `send` after which a lane is taken for stuck."""
ROOM = 512
"""Tokens that may wait for a slow client before its handler has to wait, too."""


class ClientGone(Exception):
    """Nobody takes the rest of an answer."""


class ResponseSender(Protocol):
    """The Rust side of one answer."""

    def send(self, chunk: Any) -> None:
        """Blocks while the client is behind. Raises `RuntimeError` once it has left, `ValueError` for what
        cannot be put on the wire."""
        ...


@dataclass(frozen=True)
class Coalescing:
    """How long what is ready for a request may wait for more of it, its first and last chunk excepted."""

    window: float = 0.0
    """Seconds between two chunks; 0 sends at once."""
    tokens: int = 0
    """Or as soon as so many are ready; 0 for no such limit."""


class Lane:
    """A thread that sends what the answers in its queue have ready."""

    def __init__(self) -> None:
        self.queue: SimpleQueue[Answer | None] = SimpleQueue()
        self.current: Answer | None = None
        """What it is sending."""
        self.since = 0.0
        """When it began to, on the monotonic clock."""
        threading.Thread(target=self._run, name="answers", daemon=True).start()

    def _run(self) -> None:
        while (answer := self.queue.get()) is not None:
            self.since = time.monotonic()
            self.current = answer
            answer.send_what_is_ready()
            self.current = None
            answer.let_go()


class Egress:
    """The lanes of one endpoint."""

    def __init__(self, coalescing: Coalescing | None = None) -> None:
        self.coalescing = coalescing or Coalescing()
        self._lane: Lane | None = None
        self._open = 0
        self._watch: asyncio.TimerHandle | None = None

    @contextlib.contextmanager
    def answer(self, sender: ResponseSender) -> Iterator[Answer]:
        """The way out for one request's chunks."""
        self._open += 1
        if self._watch is None:
            self._look_later()
        answer = Answer(self, sender)
        try:
            yield answer
        finally:
            self._open -= 1
            if answer.lane is not None:
                answer.lane.queue.put(None)

    def put(self, answer: Answer) -> None:
        """Have a thread send what an answer has ready."""
        if self._lane is None:
            self._lane = Lane()
        (answer.lane or self._lane).queue.put(answer)

    def close(self) -> None:
        """End the thread; nothing is sent from here on."""
        if self._lane is not None:
            self._lane.queue.put(None)
            self._lane = None

    def _look_later(self) -> None:
        self._watch = asyncio.get_running_loop().call_later(STUCK_AFTER, self._look)

    def _look(self) -> None:
        """Give the others a new lane if this one is stuck."""
        self._watch = None
        lane = self._lane
        stuck = lane.current if lane is not None else None
        if lane is not None and stuck is not None and time.monotonic() - lane.since > STUCK_AFTER:
            stuck.lane = lane
            self._lane = Lane()
            _move(lane.queue, self._lane.queue)
        if self._open:
            self._look_later()


def _move(old: SimpleQueue[Answer | None], new: SimpleQueue[Answer | None]) -> None:
    try:
        while True:
            new.put(old.get_nowait())
    except Empty:
        pass


class Answer:
    """The chunks of one request on their way out.

    `put` and `sent` are called on the event loop, the rest by the one lane that has it.
    """

    def __init__(self, egress: Egress, sender: ResponseSender) -> None:
        self._egress = egress
        self._sender = sender
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._outbox = Outbox()
        self._is_with_a_lane = False
        self._is_first = True
        self._next = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._waiting: asyncio.Future[None] | None = None
        self.lane: Lane | None = None
        """A lane of its own, once this answer has blocked one."""
        self._error: Exception | None = None

    def put(self, chunk: Any) -> None:
        """Send a chunk, with what else is ready by the time that its turn comes."""
        with self._lock:
            self._outbox.add(chunk)
            if self._is_with_a_lane or self._may_wait(chunk):
                return
            self._is_with_a_lane = True
        self._egress.put(self)

    @property
    def is_full(self) -> bool:
        """Whether the handler has to wait until what it has said is `sent`."""
        return self._outbox.tokens >= ROOM or self._error is not None

    async def sent(self) -> None:
        """Wait until everything so far has been sent. Raises `ClientGone`, or the Rust side's exception for a
        chunk that cannot be put on the wire."""
        self._flush()
        with self._lock:
            if self._is_with_a_lane:
                self._waiting = self._loop.create_future()
        if self._waiting is not None:
            await self._waiting
            self._waiting = None
        if self._error is not None:
            raise self._error

    def _may_wait(self, chunk: Any) -> bool:
        """Whether this chunk may wait for more; whoever says so sees to it that it is not for ever."""
        coalescing = self._egress.coalescing
        if not coalescing.window:
            return False
        now = self._loop.time()
        is_last = isinstance(chunk, dict) and "finish_reason" in chunk
        is_enough = 0 < coalescing.tokens <= self._outbox.tokens
        if self._is_first or is_last or is_enough or now >= self._next:
            self._is_first = False
            self._next = now + coalescing.window
            return False
        if self._timer is None:
            self._timer = self._loop.call_at(self._next, self._flush)
        return True

    def _flush(self) -> None:
        """Send what has waited for more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        with self._lock:
            if self._is_with_a_lane or not self._outbox:
                return
            self._is_with_a_lane = True
            self._next = self._loop.time() + self._egress.coalescing.window
        self._egress.put(self)

    def send_what_is_ready(self) -> None:
        """Called by a lane; blocks while the client is behind."""
        with self._lock:
            chunks = self._outbox.take()
        if self._error is not None:
            return
        try:
            for chunk in chunks:
                self._sender.send(chunk)
        except RuntimeError:
            self._error = ClientGone()
        except Exception as error:  # raised again where the handler runs
            self._error = error

    def let_go(self) -> None:
        """Called by a lane that has sent everything; what has come meanwhile goes to one again."""
        with self._lock:
            self._is_with_a_lane = bool(self._outbox)
            waiting = None if self._is_with_a_lane else self._waiting
        if self._is_with_a_lane:
            self._egress.put(self)
        elif waiting is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(_done, waiting)


def _done(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
