"""TensorRT-LLM as the half of a pair that computes prompts.

dynamo-trtllm-prefill --model Qwen/Qwen3-0.6B
dynamo-trtllm-decode --model Qwen/Qwen3-0.6B
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import BasePrefillWorker, Chunk, Request
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_trtllm.args import TRTLLM, TrtllmPrefillSettings, derive, variables
from dynamo_trtllm.base import TrtllmBase


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "trtllm-prefill"
    role = "prefill"
    resources = {"gpu": 1}


class TrtllmPrefillWorker(TrtllmBase, BasePrefillWorker):
    """Computes prompts; TensorRT-LLM keeps each KV cache until a decode worker has fetched it."""

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        from tensorrt_llm import DisaggregatedParams

        from dynamo_trtllm.convert import ChunkBuilder, sampling_params
        from dynamo_trtllm.handover import to_wire

        if chunk := self.left_to_decode(request, self.settings):
            yield chunk
            return
        request = self.first_token_of(request)
        params = sampling_params(request, defaults=self.defaults, context_length=self.context_length)
        builder = ChunkBuilder(request, params)
        is_probe = request.get("_HEALTH_CHECK")  # nobody would come for its KV cache
        keep = None if is_probe else DisaggregatedParams(request_type="context_only")
        with self.running(request, params, context, keep) as outputs:
            async for output in outputs:
                for chunk in builder.chunks(output):
                    if output.disaggregated_params is not None:
                        chunk["disaggregated_params"] = to_wire(output.disaggregated_params)
                    yield chunk


def parser() -> DynamoFlexibleArgumentParser[TrtllmPrefillSettings]:
    return DynamoFlexibleArgumentParser(
        TrtllmPrefillSettings,
        Deployment,
        engine=TRTLLM,
        derive=derive,
        variables=variables,
        description="TensorRT-LLM as the half of a pair that computes prompts.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser().parse(argv)
    settings = arguments.settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)

        async with TrtllmPrefillWorker(settings, arguments.engine) as engine:
            await engine.report_to(endpoint)
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(engine.handler, until=engine.failed(), probe=engine.probe)

    run(worker())


if __name__ == "__main__":
    main()
