"""SGLang as the half of a pair that answers prompts which a prefill worker has computed.

dynamo-sglang-prefill --model Qwen/Qwen3-0.6B
dynamo-sglang-decode --model Qwen/Qwen3-0.6B
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import BaseDecodeWorker, Chunk, ModelCard, Request
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_sglang.args import SGLANG, SglangDecodeSettings, derive, variables
from dynamo_sglang.base import SglangBase
from dynamo_sglang.bootstrap import NOWHERE, PrefillPeers
from dynamo_sglang.convert import ChunkBuilder, half_arguments
from dynamo_sglang.errors import engine_errors


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "sglang-decode"
    role = "decode"
    prefill_component = "sglang-prefill"
    resources = {"gpu": 1}


class SglangDecodeWorker(SglangBase, BaseDecodeWorker):
    """Fetches the KV cache of a prompt from a prefill worker; it cannot compute one itself."""

    async def start(self) -> ModelCard:
        card = await super().start()
        self.peers = PrefillPeers(self.limits.page_size)
        return card

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        meeting = NOWHERE if request.get("_HEALTH_CHECK") else self.needs_prefill(request)
        arguments = half_arguments(request, meeting, defaults=self.defaults, limits=self.limits)
        builder = ChunkBuilder(request)
        async with self.peers.met(meeting["bootstrap_host"], meeting["bootstrap_port"]):
            with engine_errors():
                async with self.answering(request, context, arguments) as outputs:
                    async for output in outputs:
                        yield builder.chunk(output)


def parser() -> DynamoFlexibleArgumentParser[SglangDecodeSettings]:
    return DynamoFlexibleArgumentParser(
        SglangDecodeSettings,
        Deployment,
        engine=SGLANG,
        derive=derive,
        variables=variables,
        description="SGLang as the half of a pair that answers prompts which a prefill worker has computed.",
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

        async with SglangDecodeWorker(settings, arguments.engine) as engine:
            await engine.report_to(endpoint)
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(
                engine.handler,
                until=engine.failed(),
                needs=prefill.endpoint(settings.endpoint),
                beside=engine.controls(endpoint),
                probe=engine.probe,
            )

    run(worker())


if __name__ == "__main__":
    main()
