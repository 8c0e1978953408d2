"""A router as a component: between frontends and workers, with a policy in Python."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from dynamo_core.errors import Disconnected
from dynamo_core.handlers.card import ModelCard
from dynamo_core.handlers.types import Chunk, Request
from dynamo_core.runtime.context import Context
from dynamo_core.runtime.kv_router import Candidate, KvRouter, WorkerCards
from dynamo_core.runtime.routing import KvRouting

if TYPE_CHECKING:
    from dynamo_core.runtime.component import Endpoint

__all__ = ["BaseRouter", "Candidate"]

logger = logging.getLogger(__name__)

INTERVAL = 0.25
"""Seconds between two looks at what discovery has told this process already."""
OF_THIS_ROUTER = (
    "backend_instance_id",
    "decode_worker_id",
    "prefill_worker_id",
    "dp_rank",
    "prefill_dp_rank",
)
"""What a frontend has decided about a request: that it goes to this router."""


class BaseRouter:
    """Sends each request to one of the instances of `workers`, by a rule that `choose` can replace.

        router = MyRouter(workers, settings.kv_routing)
        await endpoint.serve_endpoint(router.generate, until=router.advertise(endpoint), needs=workers)

    Frontends take it for a worker with the model of those behind it, as long as there are any. They must
    not find the workers themselves: these belong into a namespace of their own, and the frontend into the
    router's, which cannot be `dynamo`.
    """

    def __init__(self, workers: Endpoint, routing: KvRouting) -> None:
        self.workers = workers
        self._routing = routing
        self._router: KvRouter | None = None

    async def choose(self, request: Request) -> Candidate | None:
        """Which worker gets a request; None leaves it to the KV router's own rule.

        Called once for each, concurrently. `await self.candidates(request)` tells what there is to choose
        from. May raise the request errors of `dynamo_core.errors`.
        """
        return None

    async def candidates(self, request: Request) -> list[Candidate]:
        """The workers that there are now; empty if there is none."""
        return await self._kv_router().candidates(request["token_ids"], request.get("routing") or {})

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        """Pass a request on and its answer back, but for what either says of routing: that is between this
        router and one of its sides."""
        routing = {key: v for key, v in (request.get("routing") or {}).items() if key not in OF_THIS_ROUTER}
        if chosen := await self.choose(request):
            routing |= {"backend_instance_id": chosen.worker, "dp_rank": chosen.rank}
        async for chunk in self._kv_router().generate({**request, "routing": routing}):
            chunk.pop("routing_data", None)
            yield chunk

    async def advertise(self, endpoint: Endpoint) -> None:
        """Keep the workers' model registered for `endpoint` while there are any; never ends. If they
        disagree about it, what was registered first stays as long as one of them says the same."""
        cards = WorkerCards(self.workers)
        advertised: ModelCard | None = None
        try:
            while True:
                found = cards.read()
                if found and self._router is None:
                    self._router = KvRouter(self.workers, found[0].kv_block_size or 1, self._routing)
                is_current = advertised in found if found else advertised is None
                if not is_current:
                    await endpoint.unregister_model()
                    advertised = found[0] if found else None
                    if advertised is not None:
                        logger.info("%s routes %s to %s", endpoint.path, advertised.name, self.workers.path)
                        await endpoint.register_model(advertised)
                await asyncio.sleep(INTERVAL)
        finally:
            cards.close()

    def _kv_router(self) -> KvRouter:
        if self._router is None:
            raise Disconnected(f"{self.workers.path} has no instance yet")
        return self._router
