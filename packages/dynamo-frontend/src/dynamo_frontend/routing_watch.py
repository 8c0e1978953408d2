"""Frontends and routers that route by what is in KV caches name the workers that do not tell.

    async with watching_frontend(runtime, settings):
        await serve_frontend(runtime, options)

Discovery is read whenever the instances that the process knows have changed, and as long as something
is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from dynamo_core.args import RuntimeSettings
from dynamo_core.errors import UserError
from dynamo_core.runtime import DistributedRuntime, Endpoint
from dynamo_core.runtime.listing import Listing, Model, read_listing
from dynamo_core.runtime.routing import KvRouting, Routing
from dynamo_frontend.args import FrontendSettings
from dynamo_frontend.routing import GLOBAL_NAMESPACE

logger = logging.getLogger(__name__)

INTERVAL = 2.5
"""Seconds between two looks. A worker is called silent when it is so twice: it may be just starting."""

Serves = Callable[[Model], bool]
"""Whether requests are routed to a worker at all."""


@contextlib.asynccontextmanager
async def watching_frontend(runtime: DistributedRuntime, settings: FrontendSettings) -> AsyncIterator[None]:
    """Watch while the body serves HTTP."""

    async def instances() -> object:
        answer = await asyncio.to_thread(settings.own_server.ask, "/health/runtime")
        return sorted(instance["instance_id"] for instance in (answer or {}).get("instances", []))

    def serves(model: Model) -> bool:
        return settings.namespace in (GLOBAL_NAMESPACE, model.namespace)

    async with _watching(runtime, settings, SilentWorkers(serves, settings.routing), instances):
        yield


@contextlib.asynccontextmanager
async def watching_router(
    runtime: DistributedRuntime, settings: RuntimeSettings, workers: Endpoint, routing: KvRouting
) -> AsyncIterator[None]:
    """Watch while the body serves a router of its own."""
    client = await workers.client()

    async def instances() -> object:
        return sorted(client.instance_ids())

    watch = SilentWorkers(lambda model: model.path == workers.path, Routing("kv", routing))
    async with _watching(runtime, settings, watch, instances):
        yield


@contextlib.asynccontextmanager
async def _watching(
    runtime: DistributedRuntime,
    settings: RuntimeSettings,
    workers: SilentWorkers,
    instances: Callable[[], Awaitable[object]],
) -> AsyncIterator[None]:
    async def watch() -> None:
        known: object = None
        stopping = asyncio.ensure_future(runtime.stopping())
        while not (await asyncio.wait({stopping}, timeout=INTERVAL))[0]:
            found = await instances()
            if found == known and not workers.is_concerned:
                continue
            known = found
            with contextlib.suppress(UserError):  # not to be reached now, or never to be read, as Kubernetes
                workers.look((await read_listing(settings)).live)

    watching = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait({watching})


class SilentWorkers:
    """Names workers whose KV events are listened to and do not come, once each, and says when that is
    mended."""

    def __init__(self, serves: Serves, routing: Routing) -> None:
        self._serves = serves
        self._routing = routing
        self._suspected: set[int] = set()
        self._silent: dict[int, Model] = {}

    @property
    def is_concerned(self) -> bool:
        """Whether there is something to look at again."""
        return bool(self._suspected or self._silent)

    def look(self, listing: Listing) -> None:
        publishing = {publisher.instance_id for publisher in listing.publishers}
        here = {model.instance_id: model for model in listing.models if self._serves(model)}
        found = {
            worker: model
            for worker, model in here.items()
            if worker not in publishing and self._is_listened_to(model)
        }
        new = {worker: model for worker, model in found.items() if worker in self._suspected}
        mended = {worker: model for worker, model in self._silent.items() if worker not in found}
        self._silent = {worker: m for worker, m in self._silent.items() if worker in found} | new
        self._suspected = found.keys() - self._silent.keys()
        if new:
            logger.warning(
                "router-mode kv knows nothing of the KV caches of %s: no KV events come from there; start "
                "these workers with --router-mode kv or --kv-events",
                _names(new.values()),
            )
        for what, models in (
            ("publish KV events now", [m for worker, m in mended.items() if worker in here]),
            ("are gone", [m for worker, m in mended.items() if worker not in here]),
        ):
            if models:
                logger.info("mended: workers without KV events %s: %s", what, _names(models))

    def _is_listened_to(self, model: Model) -> bool:
        if model.role == "decode" and self._routing.kv.conditional_disagg is None:
            return False
        return self._routing.mode == "kv" and self._routing.kv.kv_events


def _names(models: Iterable[Model]) -> str:
    """`dynamo.vllm.generate (instances 12, 34)`."""
    instances: dict[str, list[str]] = {}
    for model in models:
        instances.setdefault(model.path, []).append(str(model.instance_id))
    return ", ".join(
        f"{path} (instance{'s' if len(found) > 1 else ''} {', '.join(found)})"
        for path, found in instances.items()
    )
