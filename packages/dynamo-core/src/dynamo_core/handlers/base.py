"""The life of a worker, whatever its engine."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from dynamo_core import interpreter
from dynamo_core.errors import EngineDead
from dynamo_core.handlers.adapters import Adapters
from dynamo_core.handlers.card import ModelCard, Role
from dynamo_core.handlers.kv_events import KvEventSource
from dynamo_core.handlers.metrics import common_metrics
from dynamo_core.handlers.types import Chunk, EmbeddingRequest, Embeddings, Request
from dynamo_core.runtime.context import Context
from dynamo_core.runtime.streams import Handler

if TYPE_CHECKING:
    from dynamo_core.handlers.adapters import TakesAdapters
    from dynamo_core.runtime.component import Endpoint
    from dynamo_core.runtime.feed import RouterFeed

logger = logging.getLogger(__name__)

PROBE_TOKEN = 1
"""Every vocabulary has it."""


class BaseWorker(ABC):
    """An engine as a component: start → generate → drain → stop.

        async with Worker(settings) as worker:
            await worker.report_to(endpoint)
            await endpoint.register_model(worker.card)
            await endpoint.serve_endpoint(
                worker.handler,
                until=worker.failed(),
                beside=worker.controls(endpoint),
                probe=worker.probe,
            )

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
        self.adapters: Adapters | None = None
        """LoRA adapters beside the model; None if this worker takes none."""
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

    def embed(self, request: EmbeddingRequest, context: Context) -> AsyncGenerator[Embeddings, None]:
        """Answer one request for vectors with one item; for engines that serve models of that kind.

        Raises the request errors of `dynamo_core.errors`.
        """
        raise NotImplementedError

    @property
    def handler(self) -> Handler:
        """What to serve: `embed` for a model that makes vectors, `generate` for any other."""
        return self.embed if "embeddings" in self.card.surfaces else self.generate

    def controls(self, endpoint: Endpoint) -> Mapping[str, Handler]:
        """Further endpoints for whoever operates this worker: those for adapters, if it takes them. An engine
        that can has the methods of `TakesAdapters`."""
        if not self.card.takes_adapters:
            return {}
        self.adapters = Adapters(cast("TakesAdapters", self), endpoint, self.card.name)
        return self.adapters.handlers

    def kv_event_sources(self) -> Sequence[KvEventSource]:
        """Where the started engine publishes its KV events by itself, if it does."""
        return ()

    common_names: ClassVar[Mapping[str, str]] = {}
    """The engine's own names of the metrics in `dynamo_core.handlers.metrics.COMMON`."""

    def engine_metrics(self) -> str:
        """The engine's own metrics in Prometheus' exposition format; called from any thread."""
        return ""

    def metrics(self) -> str:
        """Those, and what all engines count under common names."""
        text = self.engine_metrics()
        return text + common_metrics(text, self.common_names)

    @property
    def probe(self) -> Mapping[str, Any]:
        """A request for one token, to find out whether the engine answers."""
        about = {"model": self.card.name, "_HEALTH_CHECK": True}
        if "embeddings" in self.card.surfaces:
            return {**about, "token_ids": [[PROBE_TOKEN]]}
        stop = {"max_tokens": 1, "ignore_eos": True}
        options = {"stop_conditions": stop, "sampling_options": {"temperature": 0.0}, "output_options": {}}
        return {**about, **options, "token_ids": [PROBE_TOKEN]}

    async def report_to(self, endpoint: Endpoint) -> None:
        """Publish this worker's metrics, and let routers know of its KV events and load, if it is to publish
        them; call it before the model is registered."""
        endpoint.publish_metrics(self.metrics)
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
        interpreter.collect_as_usual()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._failure.cancel()
        await self.stop()
