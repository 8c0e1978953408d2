"""The Rust runtime's OpenAI frontend, as a library call."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dynamo_core import environment
from dynamo_core.runtime.own_server import OwnServer, Routes
from dynamo_core.runtime.routing import Routing
from dynamo_core.runtime.variables import frontend_variables

if TYPE_CHECKING:
    from dynamo_core.runtime.distributed import DistributedRuntime


@dataclass(frozen=True)
class FrontendOptions:
    """How to listen, what to serve, and how to route."""

    namespace: str
    """Only models of this namespace are served; of all, if it is `dynamo`: the Rust runtime takes that
    for the global one."""
    http_host: str = "127.0.0.1"
    http_port: int = 8000
    routing: Routing = field(default_factory=Routing)
    migration_limit: int = 3
    """How often one request may move to another worker after its worker was lost."""
    tls_cert_path: str | None = None
    tls_key_path: str | None = None


async def serve_frontend(runtime: DistributedRuntime, options: FrontendOptions) -> None:
    """Serve OpenAI requests until the runtime is asked to stop.

    `/health` answers 200 if a request would be answered now and 503 if not, with the names of the
    models.
    """
    from dynamo import _core

    environment.publish(frontend_variables(runtime.drain_timeout))
    arguments = _core.EntrypointArgs(
        _core.EngineType.Dynamic,
        http_host=options.http_host,
        http_port=options.http_port,
        router_config=options.routing.rust(),
        tls_cert_path=options.tls_cert_path,
        tls_key_path=options.tls_key_path,
        namespace=options.namespace,
        migration_limit=options.migration_limit,
    )
    engine = await _core.make_engine(runtime.rust, arguments)
    server = OwnServer(options.http_host, options.http_port, is_tls=options.tls_cert_path is not None)
    health = functools.partial(_health, Routes(server.is_open))
    routes = [_core.FrontendRoute("GET", "/health", health)]
    running = asyncio.ensure_future(_core.run_input(runtime.rust, "http", engine, routes))
    await runtime.serve_until_stopped(running)


def _health(routes: Routes, context: Any) -> Any:
    from dynamo import _core

    ready = context.serving_ready_display_names()
    if not routes.lead_to(ready):
        ready = []
    listed = context.model_display_names()
    body = {"status": "ready" if ready else "no model is ready", "models": ready}
    if waiting := sorted(set(listed) - set(ready)):
        body["waiting"] = waiting
    return _core.FrontendResponse(200 if ready else 503, body)
