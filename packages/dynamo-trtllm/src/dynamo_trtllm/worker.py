"""TensorRT-LLM as a worker that serves whole requests.

dynamo-trtllm-worker --model Qwen/Qwen3-0.6B
python -m dynamo_trtllm.worker --model Qwen/Qwen3-0.6B --max-seq-len 4096
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import Chunk, Request
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_trtllm.args import TRTLLM, TrtllmWorkerSettings, derive, variables
from dynamo_trtllm.base import TrtllmBase


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "trtllm"
    role = "worker"
    resources = {"gpu": 1}


class TrtllmWorker(TrtllmBase):
    """Prefill and decode in one engine."""

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        from dynamo_trtllm.convert import ChunkBuilder, sampling_params

        params = sampling_params(request, defaults=self.defaults, context_length=self.context_length)
        builder = ChunkBuilder(request, params)
        with self.running(request, params, context) as outputs:
            async for output in outputs:
                for chunk in builder.chunks(output):
                    yield chunk


def parser() -> DynamoFlexibleArgumentParser[TrtllmWorkerSettings]:
    return DynamoFlexibleArgumentParser(
        TrtllmWorkerSettings,
        Deployment,
        engine=TRTLLM,
        derive=derive,
        variables=variables,
        description="TensorRT-LLM as a worker that serves whole requests.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser().parse(argv)
    settings = arguments.settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)

        async with TrtllmWorker(settings, arguments.engine) as engine:
            await engine.report_to(endpoint)
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(engine.handler, until=engine.failed(), probe=engine.probe)

    run(worker())


if __name__ == "__main__":
    main()
