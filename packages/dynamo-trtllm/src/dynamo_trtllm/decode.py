"""TensorRT-LLM as the half of a pair that answers prompts which a prefill worker has computed.

dynamo-trtllm-prefill --model Qwen/Qwen3-0.6B
dynamo-trtllm-decode --model Qwen/Qwen3-0.6B
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.deploy import BaseDeployment
from dynamo_core.errors import StreamIncomplete
from dynamo_core.handlers import BaseDecodeWorker, Chunk, Request
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_trtllm.args import TRTLLM, TrtllmDecodeSettings, derive, variables
from dynamo_trtllm.base import TrtllmBase

logger = logging.getLogger(__name__)


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "trtllm-decode"
    role = "decode"
    prefill_component = "trtllm-prefill"
    resources = {"gpu": 1}


class TrtllmDecodeWorker(TrtllmBase, BaseDecodeWorker):
    """Goes on from the KV cache of a prefill worker; what nobody has computed, or what got lost on the way,
    it computes itself."""

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        from dynamo_trtllm.convert import ChunkBuilder, sampling_params
        from dynamo_trtllm.handover import from_wire

        params = sampling_params(request, defaults=self.defaults, context_length=self.context_length)
        handed_over = self.handed_over(request)
        for prefilled in [from_wire(handed_over), None] if handed_over else [None]:
            builder, begun = ChunkBuilder(request, params), False
            try:
                with self.running(request, params, context, prefilled) as outputs:
                    async for output in outputs:
                        for chunk in builder.chunks(output):
                            begun = True
                            yield chunk
                return
            except StreamIncomplete as error:
                if begun or prefilled is None:
                    raise
                logger.warning("computing the prompt here: %s", error)


def parser() -> DynamoFlexibleArgumentParser[TrtllmDecodeSettings]:
    return DynamoFlexibleArgumentParser(
        TrtllmDecodeSettings,
        Deployment,
        engine=TRTLLM,
        derive=derive,
        variables=variables,
        description="TensorRT-LLM as the half of a pair that answers prompts which a prefill worker has "
        "computed.",
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

        async with TrtllmDecodeWorker(settings, arguments.engine) as engine:
            await engine.report_to(endpoint)
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(
                engine.handler,
                until=engine.failed(),
                needs=prefill.endpoint(settings.endpoint),
                probe=engine.probe,
            )

    run(worker())


if __name__ == "__main__":
    main()
