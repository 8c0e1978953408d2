"""vLLM as the half of a pair that answers prompts which a prefill worker has computed.

dynamo-vllm-prefill --model Qwen/Qwen3-0.6B
dynamo-vllm-decode --model Qwen/Qwen3-0.6B
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import BaseDecodeWorker, Chunk, Request
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_vllm.args import VLLM, VllmDecodeSettings, derive, variables
from dynamo_vllm.base import VllmBase


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "vllm-decode"
    role = "decode"
    prefill_component = "vllm-prefill"
    resources = {"gpu": 1}


class VllmDecodeWorker(VllmBase, BaseDecodeWorker):
    """Goes on from the KV cache of a prefill worker; what nobody has computed it computes itself."""

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        from dynamo_vllm.convert import ChunkBuilder, sampling_params
        from dynamo_vllm.errors import engine_errors

        params = sampling_params(request, defaults=self.defaults, max_model_len=self.max_model_len)
        if prefilled := self.handed_over(request):
            params.extra_args = dict(prefilled)
        builder = ChunkBuilder(params)
        with engine_errors():
            async for output in await self.run(request, params, context):
                for chunk in builder.chunks(output):
                    yield chunk


def parser() -> DynamoFlexibleArgumentParser[VllmDecodeSettings]:
    return DynamoFlexibleArgumentParser(
        VllmDecodeSettings,
        Deployment,
        engine=VLLM,
        derive=derive,
        variables=variables,
        description="vLLM as the half of a pair that answers prompts which a prefill worker has computed.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser().parse(argv)
    settings = arguments.settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)
        prefill = runtime.namespace(settings.namespace).component(settings.prefill_component)

        async with VllmDecodeWorker(settings, arguments.engine) as engine:
            await engine.report_to(endpoint)
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(
                engine.generate,
                until=engine.failed(),
                needs=prefill.endpoint(settings.endpoint),
                beside=engine.controls(endpoint),
                probe=engine.probe,
            )

    run(worker())


if __name__ == "__main__":
    main()
