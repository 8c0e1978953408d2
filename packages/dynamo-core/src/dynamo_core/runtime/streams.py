"""The response streams that an endpoint is producing."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncGenerator, Callable
from typing import Any

from dynamo_core.errors import RequestError
from dynamo_core.runtime.context import Context
from dynamo_core.runtime.egress import ClientGone, Coalescing, Egress, ResponseSender
from dynamo_core.runtime.translate import to_rust

Handler = Callable[..., AsyncGenerator[Any, None]]
"""An async generator function of `(request, context)`, or of the request alone."""
LAST_WORDS_TIMEOUT = 1.0
"""Seconds in which what a cancelled handler has said is still sent."""


class Streams:
    """Runs a handler for every request, and knows which of them are still running.

    The Rust side drops a stream whose client has left without closing the Python generator behind
    it. Here the handler is cancelled where it waits, as asyncio cancels a task, so that its
    `finally` blocks run at once and an engine can drop the request.
    """

    def __init__(self, handler: Handler, coalescing: Coalescing | None = None) -> None:
        self._handler = handler
        self._takes_context = len(inspect.signature(handler).parameters) > 1
        self._egress = Egress(coalescing)
        self._running: set[_Stream] = set()
        self.chunks = 0
        """How many handlers have made, over all requests."""
        self._idle = asyncio.Event()
        self._idle.set()

    async def serve(
        self, request: Any, context: Context, response_sender: ResponseSender
    ) -> AsyncGenerator[Any, None]:
        """One request; the Rust side calls this, and asks it for one item: there is none, since chunks leave
        through `response_sender`, whose name is what the Rust side goes by."""
        stream = _Stream(asyncio.current_task())
        self._running.add(stream)
        self._idle.clear()
        watch = asyncio.ensure_future(context.async_killed_or_stopped())  # type: ignore[attr-defined]
        watch.add_done_callback(stream.on_client_gone)
        try:
            await self._answer(request, context, response_sender)
        except RequestError as error:
            raise to_rust(error) from None
        except ClientGone:
            pass
        except asyncio.CancelledError:
            if not stream.is_interrupted:
                raise
        finally:
            watch.cancel()
            self._forget(stream)
        if stream.error is not None:
            raise to_rust(stream.error)
        return
        yield

    async def _answer(self, request: Any, context: Context, sender: ResponseSender) -> None:
        """Send what the handler says, in full also if it ends with an error."""
        with self._egress.answer(sender) as answer:
            try:
                async with contextlib.aclosing(self._call(request, context)) as chunks:
                    async for chunk in chunks:
                        self.chunks += 1
                        answer.put(chunk)
                        if answer.is_full:
                            await answer.sent()
            except asyncio.CancelledError:
                with contextlib.suppress(ClientGone, TimeoutError):
                    async with asyncio.timeout(LAST_WORDS_TIMEOUT):
                        await answer.sent()
                raise
            except Exception:
                with contextlib.suppress(ClientGone):
                    await answer.sent()
                raise
            await answer.sent()

    def _call(self, request: Any, context: Context) -> AsyncGenerator[Any, None]:
        arguments = (request, context) if self._takes_context else (request,)
        return self._handler(*arguments)

    async def ask(self, request: Any) -> None:
        """Have the handler answer a request of this process's own. Raises what the handler raises."""
        from dynamo import _core

        async with contextlib.aclosing(self._call(request, _core.Context())) as chunks:
            async for _ in chunks:
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

    def close(self) -> None:
        """No stream is running any more, and none will."""
        self._egress.close()

    def _forget(self, stream: _Stream) -> None:
        self._running.discard(stream)
        if not self._running:
            self._idle.set()


class _Stream:
    """A request that is being answered, and the way to interrupt it from outside."""

    def __init__(self, task: asyncio.Task[Any] | None) -> None:
        self._task = task
        self.is_interrupted = False
        self.error: RequestError | None = None

    def on_client_gone(self, watch: asyncio.Future[Any]) -> None:
        if not watch.cancelled() and watch.exception() is None:
            self.interrupt()

    def interrupt(self) -> None:
        """Cancel the handler where it waits."""
        self.is_interrupted = True
        if self._task is not None:
            self._task.cancel()
