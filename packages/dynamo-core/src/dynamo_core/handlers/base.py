"""The life of a worker, whatever its engine."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Self

from dynamo_core.errors import EngineDead
from dynamo_core.handlers.card import ModelCard, Role
from dynamo_core.handlers.kv_events import KvEventSource
from dynamo_core.handlers.types import Chunk, Request
from dynamo_core.runtime.context import Context

if TYPE_CHECKING:
    from dynamo_core.runtime.component import Endpoint
    from dynamo_core.runtime.feed import RouterFeed

logger = logging.getLogger(__name__)


class BaseWorker(ABC):
    """An engine as a component: start → generate → drain → stop.

        async with Worker(settings) as worker:
            await worker.report_to(endpoint)
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

    role: ClassVar[Role] = "aggregated"
    card: ModelCard
    """What the worker advertises; set once `start` has returned."""

    def __init__(self) -> None:
        self.feed: RouterFeed | None = None
        """What routers hear of this worker; None as long as nobody is to be told."""
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

    def kv_event_sources(self) -> Sequence[KvEventSource]:
        """Where the started engine publishes its KV events by itself, if it does."""
        return ()

    async def report_to(self, endpoint: Endpoint) -> None:
        """Let routers know of this worker's KV events and load, if it is to publish them; call it before
        the model is registered."""
        if not self.card.publishes_kv_events:
            return  # whoever publishes listens on all interfaces: see RouterFeed
        self.feed = await endpoint.router_feed(self.card, self.kv_event_sources())

    def report_load(self, used_blocks: int, rank: int = 0) -> None:
        """Tell routers how many KV blocks a data-parallel rank uses; from any thread, at any rate."""
        if self.feed is not None:
            self.feed.load(used_blocks, rank)

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
