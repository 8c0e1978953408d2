"""The example of the proposal, with words instead of an engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from dynamo_core.deploy import BaseDeployment


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "sgldecode"
    resources = {"gpu": 1}


class DecodeHandler:
    def __init__(self, engine_args: list[str]) -> None:
        self.engine_args = engine_args

    async def generate(self, req: Any) -> AsyncGenerator[Any, None]:
        for word in self.engine_args:
            yield word


if __name__ == "__main__":
    import asyncio

    import uvloop

    from dynamo_core.runtime import DistributedRuntime, dynamo_worker

    @dynamo_worker()
    async def worker(runtime: DistributedRuntime, engine_args: list[str]) -> None:
        handler = DecodeHandler(engine_args)
        deploy = Deployment()

        component = runtime.namespace(deploy.namespace).component(deploy.name)
        await component.create_service()

        endpoint = component.endpoint("generate")
        await endpoint.serve_endpoint(handler.generate)

    uvloop.install()
    asyncio.run(worker(["hello", "world"]))
