"""The response streams that an endpoint is producing."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

from dynamo_core.errors import RequestError
from dynamo_core.runtime.context import Context
from dynamo_core.runtime.translate import to_rust

Handler = Callable[..., AsyncIterator[Any]]
"""An async generator function of `(request, context)`, or of the request alone."""


class Streams:
    """Runs a handler for every request, and knows which of them are still running.

    The Rust side drops a stream whose client has left without closing the Python generator behind
    it. Here the handler is cancelled where it waits, as asyncio cancels a task, so that its
    `finally` blocks run at once and an engine can drop the request.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._takes_context = len(inspect.signature(handler).parameters) > 1
        self._running: set[_Stream] = set()
        self.chunks = 0
        """How many have gone out, over all requests."""
        self._idle = asyncio.Event()
        self._idle.set()

    async def serve(self, request: Any, context: Context) -> AsyncGenerator[Any, None]:
        """One request; this is the callable that the Rust side drives, each step in a task."""
        generator = self._handler(request, context) if self._takes_context else self._handler(request)
        stream = _Stream(generator, self._forget)
        self._running.add(stream)
        self._idle.clear()
        watch = asyncio.ensure_future(context.async_killed_or_stopped())  # type: ignore[attr-defined]
        watch.add_done_callback(stream.on_client_gone)
        step = generator.__anext__
        try:
            while not stream.interrupted:
                stream.step = asyncio.current_task()
                try:
                    chunk = await step()
                finally:
                    stream.step = None
                self.chunks += 1
                yield chunk
        except StopAsyncIteration:
            pass
        except RequestError as error:
            raise to_rust(error) from None
        except asyncio.CancelledError:
            if not stream.interrupted:
                raise
        finally:
            watch.cancel()
            await stream.close()
        if stream.error is not None:
            raise to_rust(stream.error)

    async def ask(self, request: Any) -> None:
        """Have the handler answer a request of this process's own. Raises what the handler raises."""
        from dynamo import _core

        arguments = (request, _core.Context()) if self._takes_context else (request,)
        async with contextlib.aclosing(self._handler(*arguments)) as generator:  # type: ignore[type-var]
            async for _ in generator:
                pass

    def __len__(self) -> int:
        return len(self._running)

    async def idle(self) -> None:
        """Wait until no stream is running."""
        await self._idle.wait()

    def end_all(self, error: RequestError) -> None:
        """End every running stream with `error`, at the point where its handler waits."""
        for stream in list(self._running):
            stream.error = error
            stream.interrupt()

    def _forget(self, stream: _Stream) -> None:
        self._running.discard(stream)
        if not self._running:
            self._idle.set()


class _Stream:
    """One handler's generator and the way to interrupt it from outside."""

    def __init__(self, generator: AsyncIterator[Any], forget: Callable[[_Stream], None]) -> None:
        self._generator = generator
        self._forget = forget
        self._closing: asyncio.Task[None] | None = None
        self.step: asyncio.Task[Any] | None = None
        """The task that waits for the next chunk; None while the Rust side has the last one."""
        self.interrupted = False
        self.error: RequestError | None = None

    def on_client_gone(self, watch: asyncio.Future[Any]) -> None:
        if not watch.cancelled() and watch.exception() is None:
            self.interrupt()

    def interrupt(self) -> None:
        """Cancel the step in progress. Between two steps, nobody comes back for the next one if the
        client is gone, so that the generator has to be closed from here."""
        self.interrupted = True
        if self.step is not None:
            self.step.cancel()
        elif self.error is None:
            self._closing = asyncio.ensure_future(self.close())

    async def close(self) -> None:
        try:
            aclose = getattr(self._generator, "aclose", None)
            if aclose is not None:
                await aclose()
        finally:
            self._forget(self)
