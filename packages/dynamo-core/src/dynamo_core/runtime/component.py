"""Namespace → Component → Endpoint: the names under which components find each other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dynamo_core.deploy.deployment import check_name
from dynamo_core.errors import EngineShutdown, UserError
from dynamo_core.handlers.card import ModelCard
from dynamo_core.handlers.kv_events import KvEventSource
from dynamo_core.runtime.client import Client
from dynamo_core.runtime.feed import RouterFeed
from dynamo_core.runtime.peers import watch_peers
from dynamo_core.runtime.presence import stay_registered
from dynamo_core.runtime.probe import Probe, watch_answers
from dynamo_core.runtime.streams import Handler, Streams

if TYPE_CHECKING:
    from dynamo_core.runtime.distributed import DistributedRuntime

__all__ = ["Client", "Component", "Endpoint", "Handler", "Namespace"]

logger = logging.getLogger(__name__)

END_TIMEOUT = 2.0
"""Seconds that a handler gets to end once it is cancelled."""
DISCOVERY_TIMEOUT = 10.0
"""Seconds that a new instance may take to show in discovery."""
LEAVE_TIMEOUT = 3.0
"""Seconds that leaving discovery may take."""


class Namespace:
    """A set of components that can find each other."""

    def __init__(self, runtime: DistributedRuntime, name: str) -> None:
        self.runtime = runtime
        self.name = check_name("namespace", name)

    def component(self, name: str) -> Component:
        """A component of this namespace, whether it runs here or elsewhere."""
        return Component(self, name)


class Component:
    """A named part of a graph; it runs as any number of instances."""

    def __init__(self, namespace: Namespace, name: str) -> None:
        self.namespace = namespace
        self.name = check_name("component", name)

    async def create_service(self) -> None:
        """Announce that this process is an instance of the component.

        Its endpoints can be found once they serve; this says where the others have to look.
        """
        logger.info(
            "%s.%s will be found through %s", self.namespace.name, self.name, self.runtime.meeting_point
        )

    def endpoint(self, name: str) -> Endpoint:
        """An endpoint of this component."""
        return Endpoint(self, name)

    @property
    def runtime(self) -> DistributedRuntime:
        return self.namespace.runtime


class Endpoint:
    """One function of a component that others can call."""

    def __init__(self, component: Component, name: str) -> None:
        self.component = component
        self.name = check_name("endpoint", name)
        self.path = f"{component.namespace.name}.{component.name}.{name}"
        self._runtime = component.runtime
        self._rust = self._runtime.rust_endpoint(self.path)
        self._card: ModelCard | None = None
        self._adapters: set[str] = set()
        self._is_wanted = True
        self._lacks: set[str] = set()
        """What keeps this endpoint from being ready."""

    async def client(self) -> Client:
        """A client for this endpoint's instances."""
        return Client(await self._rust.client(), self.path)

    async def register_model(self, card: ModelCard) -> None:
        """Tell frontends that this endpoint serves a model.

        Call it once the engine can answer; what the card says is what routers believe.
        """
        from dynamo_core.runtime.model import register

        await register(self._rust, card, status_server=self._runtime.has_status_server)
        self._card = card

    async def unregister_model(self) -> None:
        """Tell frontends that this endpoint serves no model now; nothing if it serves none."""
        for name in list(self._adapters):
            await self.unregister_adapter(name)
        if self._card is not None:
            from dynamo import _core

            self._card = None
            await _core.unregister_model(self._rust)

    async def register_adapter(self, name: str) -> None:
        """Tell frontends of a model `name` that this endpoint serves beside the one it has registered."""
        from dynamo_core.runtime.model import register

        if self._card is None:
            raise TypeError("an adapter is registered after its model")
        await register(self._rust, self._card, status_server=self._runtime.has_status_server, adapter=name)
        self._adapters.add(name)

    async def unregister_adapter(self, name: str) -> None:
        """No new request for that model comes here."""
        from dynamo import _core

        self._adapters.discard(name)
        await _core.unregister_model(self._rust, name)

    def publish_metrics(self, text: Callable[[], str]) -> None:
        """Add what `text` returns, in Prometheus' exposition format, to `/metrics` on the status port. It is
        called in a thread of the Rust runtime's whenever somebody reads them."""
        self._rust.metrics.register_prometheus_expfmt_callback(text)

    async def router_feed(self, card: ModelCard, sources: Sequence[KvEventSource] = ()) -> RouterFeed:
        """What tells routers about this instance's KV cache; what `sources` publish is passed on."""
        if self._runtime.event_plane == "zmq":
            logger.warning(
                "KV events go out on all interfaces, token ids in them: the Rust runtime knows no other way "
                "for --event-plane zmq; a firewall, or --event-plane nats, keeps them in"
            )
        return await RouterFeed.open(self._rust, card, sources)

    async def unregister(self) -> None:
        """Leave discovery: no new request finds this instance. Requests in flight go on."""
        self._is_wanted = False
        await self.unregister_model()
        await self._rust.unregister_endpoint_instance()

    async def serve_endpoint(
        self,
        handler: Handler,
        *,
        until: Coroutine[Any, Any, None] | None = None,
        needs: Endpoint | None = None,
        beside: Mapping[str, Handler] | None = None,
        probe: Mapping[str, Any] | None = None,
    ) -> None:
        """Serve `handler(request, context)`, an async generator, until the runtime is asked to stop.

        Then the endpoint leaves discovery, and streams in flight get `drain_timeout` seconds to end
        by themselves; what is left after that is ended with an error that lets the frontend move
        the request to another worker.

        `until` is watched meanwhile. When it raises, the endpoint leaves discovery at once, its
        streams end the same way, and the exception comes out of here.

        Without an instance of `needs`, another endpoint, this process is served but not ready, and says so.

        `beside` are further endpoints of this component by name, for whoever operates it; they are served as
        long as this one.

        `probe` is a request that the handler is asked when nobody else asks; while it does not answer, this
        process is not ready.

        An entry that vanishes from discovery meanwhile is made again. If discovery refuses, or the Rust
        runtime gives up, streams drain as above and `RegistrationLost` comes out of here.
        """
        streams = Streams(handler, self._runtime.coalescing)
        serving = asyncio.ensure_future(self._rust.serve_endpoint(streams.serve, graceful_shutdown=True))
        stopping = asyncio.ensure_future(self._runtime.stopping())
        watched = [serving, stopping]
        failure = asyncio.ensure_future(until) if until is not None else None
        if failure is not None:
            watched.append(failure)
        try:
            with self._runtime.serving(self):
                client = await self._discoverable(serving)
                for name, other in (beside or {}).items():
                    watched.append(await self.component.endpoint(name)._serve_beside(other))
                if self._runtime.can_lose_entries:
                    watched.append(asyncio.ensure_future(self._stay_registered(client)))
                if needs is None:
                    self._ready(True)
                else:
                    peers = await needs.client()
                    watched.append(asyncio.ensure_future(watch_peers(self.path, peers, self._has_peers)))
                if probe is not None and (times := self._runtime.probe_times):
                    asking = watch_answers(self.path, streams, Probe(probe, *times), self._answers)
                    watched.append(asyncio.ensure_future(asking))
                done, _ = await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
                if serving in done:
                    await serving
                error = next((error for task in done if (error := task.exception()) is not None), None)
                lost = error is None and stopping not in done and failure not in done
                if lost:
                    self._runtime.stop()
                else:
                    await self._leave()
                await self._drain(streams, error)
            await self._runtime.close()
            await serving
            if error is not None:
                raise error
            if lost:
                raise self._runtime.lost()
        finally:
            streams.close()
            for task in watched:
                task.cancel()

    async def _serve_beside(self, handler: Handler) -> asyncio.Future[None]:
        """Serve until the runtime closes, without a say in whether this process is ready.

        The status server calls such a handler, too. It has nothing that chunks could be pushed at, so that
        the Rust side asks for them.
        """
        serving: asyncio.Future[None] = asyncio.ensure_future(self._rust.serve_endpoint(handler))
        client = await self._discoverable(serving)
        if self._runtime.can_lose_entries:
            return asyncio.ensure_future(self._stay_registered(client))
        return serving

    def _has_peers(self, is_so: bool) -> None:
        self._ready(is_so, "peers")

    def _answers(self, is_so: bool) -> None:
        self._ready(is_so, "answers")

    def _ready(self, is_so: bool, what: str = "") -> None:
        """It is ready unless it lacks something."""
        (self._lacks.discard if is_so else self._lacks.add)(what)
        ready = not self._lacks
        self._runtime.set_ready(ready)
        if ready:
            logger.info("%s is ready", self.path)

    async def _leave(self) -> None:
        """Leave discovery. One that does not answer keeps no stream from its end: the entry that stays
        there expires, and requests that still come are moved to another worker."""
        try:
            await asyncio.wait_for(self.unregister(), LEAVE_TIMEOUT)
        except Exception as error:  # the Rust side has one type for everything
            why = str(error) or f"no answer within {LEAVE_TIMEOUT:g} s"
            logger.warning("%s cannot leave %s: %s", self.path, self._runtime.meeting_point, why)

    async def _stay_registered(self, client: Any) -> None:
        own = self._rust.connection_id()
        entry = "/".join((self.component.namespace.name, self.component.name, self.name, f"{own:x}"))

        def is_registered() -> bool:
            return not self._is_wanted or (
                own in client.instance_ids() and self._runtime.keeps(entry, is_model=self._card is not None)
            )

        await stay_registered(self.path, is_registered, self._register_again)

    async def _register_again(self) -> None:
        await self._rust.register_endpoint_instance()
        if self._card is not None:
            await self.register_model(self._card)
        for name in list(self._adapters):
            await self.register_adapter(name)

    async def _discoverable(self, serving: asyncio.Future[None]) -> Any:
        """Wait until this instance shows in discovery, which is when others can find it too; returns the
        client that has seen it."""
        client = await self._rust.client()
        own = self._rust.connection_id()
        deadline = asyncio.get_running_loop().time() + DISCOVERY_TIMEOUT
        while own not in client.instance_ids() and not serving.done():
            if asyncio.get_running_loop().time() > deadline:
                raise UserError(
                    f"{self.path} did not show up in discovery within {DISCOVERY_TIMEOUT:g} s",
                    fix=f"check {self._runtime.meeting_point}",
                )
            await asyncio.sleep(0.005)
        return client

    async def _drain(self, streams: Streams, error: BaseException | None) -> None:
        budget = 0.0 if error is not None else self._runtime.drain_timeout
        if len(streams) and budget:
            logger.info("%s: waiting up to %g s for %d streams in flight", self.path, budget, len(streams))
        try:
            await asyncio.wait_for(streams.idle(), budget)
        except TimeoutError:
            if error is None:
                logger.warning("%s: ending %d streams after %g s", self.path, len(streams), budget)
            streams.end_all(EngineShutdown(str(error or "the worker was stopped")))
            try:
                await asyncio.wait_for(streams.idle(), END_TIMEOUT)
            except TimeoutError:
                logger.error("%s: %d handlers do not end when they are cancelled", self.path, len(streams))
