"""vLLM as the half of a pair that computes prompts.

dynamo-vllm-prefill --model Qwen/Qwen3-0.6B
dynamo-vllm-decode --model Qwen/Qwen3-0.6B
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import BasePrefillWorker, Chunk, Request
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_vllm.args import VLLM, VllmPrefillSettings, derive, variables
from dynamo_vllm.base import VllmBase

KV_TRANSFER = "kv_transfer_params"
KEEP_FOR_DECODE = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
"""What vLLM's connectors want with a prompt whose answer is computed elsewhere."""


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "vllm-prefill"
    role = "prefill"
    resources = {"gpu": 1}


class VllmPrefillWorker(VllmBase, BasePrefillWorker):
    """Computes prompts; vLLM keeps each KV cache until a decode worker has fetched it."""

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        from dynamo_vllm.convert import ChunkBuilder, sampling_params
        from dynamo_vllm.errors import engine_errors

        if chunk := self.left_to_decode(request, self.settings):
            yield chunk
            return
        request = self.first_token_of(request)
        params = sampling_params(request, defaults=self.defaults, max_model_len=self.max_model_len)
        if not request.get("_HEALTH_CHECK"):  # nobody would come for its KV cache
            params.extra_args = {KV_TRANSFER: KEEP_FOR_DECODE}
        builder = ChunkBuilder(params)
        with engine_errors():
            async for output in await self.run(request, params, context):
                for chunk in builder.chunks(output):
                    if output.kv_transfer_params:
                        chunk["disaggregated_params"] = {KV_TRANSFER: output.kv_transfer_params}
                    yield chunk


def parser() -> DynamoFlexibleArgumentParser[VllmPrefillSettings]:
    return DynamoFlexibleArgumentParser(
        VllmPrefillSettings,
        Deployment,
        engine=VLLM,
        derive=derive,
        variables=variables,
        description="vLLM as the half of a pair that computes prompts.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser().parse(argv)
    settings = arguments.settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)

        async with VllmPrefillWorker(settings, arguments.engine) as engine:
            await engine.report_to(endpoint)
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(
                engine.generate,
                until=engine.failed(),
                beside=engine.controls(endpoint),
                probe=engine.probe,
            )

    run(worker())


if __name__ == "__main__":
    main()
