"""SGLang as a worker that serves whole requests.

dynamo-sglang-worker --model Qwen/Qwen3-0.6B
python -m dynamo_sglang.worker --model Qwen/Qwen3-0.6B --mem-fraction-static 0.8
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import Chunk, Request
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_sglang.args import SGLANG, SglangWorkerSettings, derive, variables
from dynamo_sglang.base import SglangBase
from dynamo_sglang.convert import ChunkBuilder, engine_arguments
from dynamo_sglang.errors import engine_errors


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "sglang"
    role = "worker"
    resources = {"gpu": 1}


class SglangWorker(SglangBase):
    """Prefill and decode in one engine."""

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        arguments = engine_arguments(request, defaults=self.defaults, limits=self.limits)
        builder = ChunkBuilder(request)
        with engine_errors():
            async with self.answering(request, context, arguments) as outputs:
                async for output in outputs:
                    yield builder.chunk(output)


def parser() -> DynamoFlexibleArgumentParser[SglangWorkerSettings]:
    return DynamoFlexibleArgumentParser(
        SglangWorkerSettings,
        Deployment,
        engine=SGLANG,
        derive=derive,
        variables=variables,
        description="SGLang as a worker that serves whole requests.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser().parse(argv)
    settings = arguments.settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)

        async with SglangWorker(settings, arguments.engine) as engine:
            await engine.report_to(endpoint)
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(
                engine.handler,
                until=engine.failed(),
                beside=engine.controls(endpoint),
                probe=engine.probe,
            )

    run(worker())


if __name__ == "__main__":
    main()
