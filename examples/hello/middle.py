"""The middle of the chain: passes a text on to the backend and decorates what comes back.

python3 middle.py
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from dynamo_core.args import (
    ComponentSettings,
    DynamoFlexibleArgumentParser,
    RuntimeSettings,
    Settings,
    setting,
)
from dynamo_core.deploy import BaseDeployment
from dynamo_core.runtime import Client, DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context


class MiddleSettings(Settings):
    "Middle"

    mark: str = setting("!", "What to put behind every word.")


class HelloMiddleSettings(MiddleSettings, ComponentSettings, RuntimeSettings):
    "The settings of this component"


class Deployment(BaseDeployment):
    namespace = "hello"
    name = "middle"


class Middle:
    def __init__(self, backend: Client, mark: str) -> None:
        self.backend = backend
        self.mark = mark

    async def generate(self, text: str, context: Context) -> AsyncGenerator[str, None]:
        async for word in self.backend.generate(text):
            yield word + self.mark


def parser() -> DynamoFlexibleArgumentParser[HelloMiddleSettings]:
    return DynamoFlexibleArgumentParser(HelloMiddleSettings, Deployment)


def main(argv: Sequence[str] | None = None) -> None:
    settings = parser().parse(argv).settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        namespace = runtime.namespace(settings.namespace)
        backend = await namespace.component("backend").endpoint("generate").client()
        await backend.wait_for_instances()

        component = namespace.component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)
        await endpoint.serve_endpoint(Middle(backend, settings.mark).generate)

    run(worker())


if __name__ == "__main__":
    main()
