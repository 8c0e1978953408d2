"""The end of the chain: answers a text word by word.

python3 backend.py
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from dynamo_core.args import (
    ComponentSettings,
    DynamoFlexibleArgumentParser,
    RuntimeSettings,
    Settings,
    setting,
)
from dynamo_core.deploy import BaseDeployment
from dynamo_core.errors import InvalidArgument
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context


class BackendSettings(Settings):
    "Backend"

    pause: float = setting(0.05, "Seconds between two words.", ge=0)


class HelloBackendSettings(BackendSettings, ComponentSettings, RuntimeSettings):
    "The settings of this component"


class Deployment(BaseDeployment):
    namespace = "hello"
    name = "backend"


class Backend:
    def __init__(self, pause: float) -> None:
        self.pause = pause

    async def generate(self, text: str, context: Context) -> AsyncGenerator[str, None]:
        if not text.split():
            raise InvalidArgument("a greeting needs at least one word")
        for word in text.split():
            await asyncio.sleep(self.pause)
            yield word.upper()


def parser() -> DynamoFlexibleArgumentParser[HelloBackendSettings]:
    return DynamoFlexibleArgumentParser(HelloBackendSettings, Deployment)


def main(argv: Sequence[str] | None = None) -> None:
    settings = parser().parse(argv).settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)
        await endpoint.serve_endpoint(Backend(settings.pause).generate)

    run(worker())


if __name__ == "__main__":
    main()
