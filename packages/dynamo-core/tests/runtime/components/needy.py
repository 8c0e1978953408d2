"""Is ready only while `answers.py` runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from dynamo_core.args import ComponentSettings, DynamoFlexibleArgumentParser, RuntimeSettings
from dynamo_core.deploy import BaseDeployment
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run


class NeedySettings(ComponentSettings, RuntimeSettings):
    "The settings of this component"


class Deployment(BaseDeployment):
    namespace = "test"
    name = "needy"


async def generate(request: Any) -> AsyncGenerator[Any, None]:
    yield "served"


def main() -> None:
    settings = DynamoFlexibleArgumentParser(NeedySettings, Deployment).parse().settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        needed = runtime.namespace(settings.namespace).component("answers").endpoint("generate")
        await component.endpoint(settings.endpoint).serve_endpoint(generate, needs=needed)

    run(worker())


if __name__ == "__main__":
    main()
