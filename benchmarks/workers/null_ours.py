"""The null engine as a component of this project, written as its users write theirs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from null_engine import NullEngine

from dynamo_core.args import (
    ComponentSettings,
    DynamoFlexibleArgumentParser,
    ModelSettings,
    RuntimeSettings,
    Settings,
    setting,
)
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import BaseWorker, Chunk, ModelCard, Request
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context


class NullSettings(Settings):
    "Null engine"

    hz: float = setting(0.0, "Steps per second; 0 for as many as there can be.", ge=0)


class NullWorkerSettings(NullSettings, ModelSettings, ComponentSettings, RuntimeSettings):
    "The settings of this component"


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "null"
    role = "worker"


class NullWorker(BaseWorker):
    def __init__(self, settings: NullWorkerSettings) -> None:
        super().__init__()
        self.settings = settings

    async def start(self) -> ModelCard:
        self.engine = NullEngine(self.settings.hz)
        return ModelCard(self.settings.model, self.settings.served_model_name or "null", 1 << 20)

    async def stop(self) -> None:
        self.engine.stop()

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        wanted = request["stop_conditions"]["max_tokens"] or 16
        left = wanted
        async for token in self.engine.answer(wanted):
            left -= 1
            if left:
                yield {"token_ids": [token]}
            else:
                yield {"token_ids": [token], "finish_reason": "length", "completion_usage": usage(request)}


def usage(request: Request) -> dict[str, int]:
    prompt, answer = len(request["token_ids"]), request["stop_conditions"]["max_tokens"] or 16
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def parser() -> DynamoFlexibleArgumentParser[NullWorkerSettings]:
    return DynamoFlexibleArgumentParser(NullWorkerSettings, Deployment)


def main(argv: Sequence[str] | None = None) -> None:
    settings = parser().parse(argv).settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)

        async with NullWorker(settings) as null:
            await endpoint.register_model(null.card)
            await endpoint.serve_endpoint(null.generate, until=null.failed())

    run(worker())


if __name__ == "__main__":
    main()
