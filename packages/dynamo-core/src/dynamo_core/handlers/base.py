"""The life of a worker, whatever its engine."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self

from dynamo_core.errors import EngineDead
from dynamo_core.handlers.card import ModelCard
from dynamo_core.handlers.types import Chunk, Request
from dynamo_core.runtime.context import Context

logger = logging.getLogger(__name__)


class BaseWorker(ABC):
    """An engine as a component: start → generate → drain → stop.

        async with Worker(settings) as worker:
            await endpoint.register_model(worker.card)
            await endpoint.serve_endpoint(worker.generate, until=worker.failed())

    Guarantees, kept by this class and by the endpoint that serves it:

    * `start` ends before the first `generate`; `stop` runs exactly once, after the last one, also
      when `start` failed or was cancelled half-way.
    * A request whose client has left is cancelled in `generate`, where it waits.
    * When the worker is stopped it leaves discovery first, then streams get `drain_timeout`
      seconds to end by themselves, then the rest is ended such that frontends move it elsewhere.
    * When the engine dies, the worker leaves discovery at once, streams end such that frontends
      move them, and the process exits with 1 and the engine's own first error.
    """

    card: ModelCard
    """What the worker advertises; set once `start` has returned."""

    def __init__(self) -> None:
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @abstractmethod
    async def start(self) -> ModelCard:
        """Start the engine and say what it serves.

        Runs on the event loop that signals arrive on: whatever blocks belongs into a thread, so
        that a start can be interrupted. Raises `UserError` for what the user can mend.
        """

    @abstractmethod
    def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        """Answer one request with chunks, an async generator.

        Raises the request errors of `dynamo_core.errors`; `InvalidArgument` before the first chunk.
        The last chunk of each choice carries its finish reason, the last of all the usage.
        """

    async def stop(self) -> None:
        """Stop the engine and free what it holds. Must work after a half-finished `start`."""

    def fail(self, cause: str) -> None:
        """Report that the engine is gone; the first report counts."""
        if not self._failure.done():
            self._failure.set_exception(EngineDead(cause))

    async def failed(self) -> None:
        """Wait until the engine is gone, then raise `EngineDead` with its first error."""
        await self._failure

    async def __aenter__(self) -> Self:
        try:
            self.card = await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._failure.cancel()
        await self.stop()
