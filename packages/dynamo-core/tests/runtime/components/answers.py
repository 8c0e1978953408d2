"""Answers what it is asked to: chunks, errors, or whether an earlier request was cancelled."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import AsyncGenerator
from typing import Any

from dynamo_core import errors
from dynamo_core.args import ComponentSettings, DynamoFlexibleArgumentParser, RuntimeSettings
from dynamo_core.deploy import BaseDeployment
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context


class AnswersSettings(ComponentSettings, RuntimeSettings):
    "The settings of this component"


class Deployment(BaseDeployment):
    namespace = "test"
    name = "answers"


class Handler:
    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    async def generate(self, request: dict[str, Any], context: Context) -> AsyncGenerator[Any, None]:
        if request.get("was_cancelled"):
            await asyncio.wait_for(self.cancelled.wait(), 5)
            yield "cancelled"
            return
        print("started", request.get("count", 0), flush=True)
        try:
            for number in range(request.get("count", 0)):
                await asyncio.sleep(request.get("delay", 0.0))
                yield number if "size" not in request else "x" * request["size"]
                if number == 1:
                    print("answers", request["count"], flush=True)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if kind := request.get("error"):
            raise vars(errors).get(kind, vars(builtins).get(kind))("out of cheese")


def parser() -> DynamoFlexibleArgumentParser[AnswersSettings]:
    return DynamoFlexibleArgumentParser(AnswersSettings, Deployment)


def main() -> None:
    settings = parser().parse().settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        handler = Handler()
        # Two functions of one component: each its own endpoint, both over one handler.
        await asyncio.gather(
            component.endpoint(settings.endpoint).serve_endpoint(handler.generate),
            component.endpoint("other").serve_endpoint(handler.generate),
        )

    run(worker())


if __name__ == "__main__":
    main()
