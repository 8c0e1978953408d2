"""vLLM as a worker that serves whole requests.

dynamo-vllm-worker --model Qwen/Qwen3-0.6B
python -m dynamo_vllm.worker --model Qwen/Qwen3-0.6B --max-model-len 4096
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import Chunk, Request
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_vllm.args import VLLM, VllmWorkerSettings, derive, variables
from dynamo_vllm.base import VllmBase


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "vllm"
    role = "worker"
    resources = {"gpu": 1}


class VllmWorker(VllmBase):
    """Prefill and decode in one engine."""

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        from dynamo_vllm.convert import ChunkBuilder, sampling_params
        from dynamo_vllm.errors import engine_errors

        params = sampling_params(request, defaults=self.defaults, max_model_len=self.max_model_len)
        builder = ChunkBuilder(params)
        with engine_errors():
            async for output in await self.run(request, params, context):
                for chunk in builder.chunks(output):
                    yield chunk


def parser() -> DynamoFlexibleArgumentParser[VllmWorkerSettings]:
    return DynamoFlexibleArgumentParser(
        VllmWorkerSettings,
        Deployment,
        engine=VLLM,
        derive=derive,
        variables=variables,
        description="vLLM as a worker that serves whole requests.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser().parse(argv)
    settings = arguments.settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)

        async with VllmWorker(settings, arguments.engine) as engine:
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
