"""The KV router as a component of its own, between frontends and workers.

dynamo-router --workers NAMESPACE.COMPONENT.ENDPOINT
python -m dynamo_frontend.router --workers workers.vllm.generate --router-temperature 0.5
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator

from dynamo_core.args import (
    ComponentSettings,
    DynamoFlexibleArgumentParser,
    RuntimeSettings,
    Settings,
    setting,
)
from dynamo_core.deploy import BaseDeployment
from dynamo_core.errors import UserError
from dynamo_core.handlers.router import BaseRouter
from dynamo_core.runtime import DistributedRuntime, Endpoint, dynamo_worker, run
from dynamo_frontend.routing import GLOBAL_NAMESPACE, KvRoutingSettings, kv_problems
from dynamo_frontend.routing_watch import watching_router


def _three_names(path: str) -> str:
    if len(path.split(".")) != 3:
        raise ValueError("expected NAMESPACE.COMPONENT.ENDPOINT")
    return path


class WorkersSettings(Settings):
    "Workers"

    workers: Annotated[str, AfterValidator(_three_names)] = setting(
        ...,
        "Endpoint of the workers to choose from; in another namespace than this router's, so that frontends "
        "find the router and not them.",
        metavar="NAMESPACE.COMPONENT.ENDPOINT",
    )


class RouterSettings(WorkersSettings, KvRoutingSettings, ComponentSettings, RuntimeSettings):
    "The settings of dynamo-router, and of any other router on BaseRouter"


class Deployment(BaseDeployment):
    namespace = "routed"
    name = "router"
    role = "worker"


def check(settings: RouterSettings) -> None:
    """Raise `UserError` for what does not go together."""
    problems = list(kv_problems(settings))
    if settings.namespace == GLOBAL_NAMESPACE:
        problems.append(
            f"--namespace {GLOBAL_NAMESPACE} is the one whose frontends find the workers as well, and pass "
            "the router by\n  fix: give router and frontend another one"
        )
    elif settings.workers.split(".")[0] == settings.namespace:
        problems.append(
            f"--workers {settings.workers} are in the router's own namespace, where frontends find them as "
            "well, and pass the router by\n  fix: give the workers another --namespace"
        )
    if problems:
        raise UserError("\n".join(problems))


def workers_of(runtime: DistributedRuntime, settings: RouterSettings) -> Endpoint:
    """The endpoint of the workers."""
    namespace, component, endpoint = settings.workers.split(".")
    return runtime.namespace(namespace).component(component).endpoint(endpoint)


def parser() -> DynamoFlexibleArgumentParser[RouterSettings]:
    return DynamoFlexibleArgumentParser(
        RouterSettings,
        Deployment,
        check=check,
        description="The KV router as a component of its own, between frontends and workers.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    settings = parser().parse(argv).settings

    @dynamo_worker(settings)
    async def router(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)

        workers = workers_of(runtime, settings)
        handler = BaseRouter(workers, settings.kv_routing)
        async with watching_router(runtime, settings, workers, settings.kv_routing):
            await endpoint.serve_endpoint(handler.generate, until=handler.advertise(endpoint), needs=workers)

    run(router())


if __name__ == "__main__":
    main()
