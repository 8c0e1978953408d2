"""The decode worker of the proposal that this project implements: a component in one file.

dynamo-sglang-prefill --model Qwen/Qwen3-0.6B
python3 examples/proposal/sgl_decode.py --model Qwen/Qwen3-0.6B
"""

from collections.abc import AsyncGenerator, Sequence

from dynamo_core.args import DynamoFlexibleArgumentParser
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import BaseDecodeWorker, Chunk, Request
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_sglang.args import SGLANG, SglangDecodeSettings, derive, variables
from dynamo_sglang.base import SglangBase
from dynamo_sglang.convert import ChunkBuilder, half_arguments


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "sgldecode"
    role = "decode"
    prefill_component = "sglang-prefill"
    resources = {"gpu": 1}


class DecodeHandler(SglangBase, BaseDecodeWorker):
    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        # input_ids, sampling_params, and the prefill worker's bootstrap_host, bootstrap_port, bootstrap_room
        arguments = half_arguments(
            request, self.needs_prefill(request), defaults=self.defaults, limits=self.limits
        )
        builder = ChunkBuilder(request)
        async for result in await self.engine.async_generate(stream=True, rid=context.id(), **arguments):
            yield builder.chunk(result)


def parser() -> DynamoFlexibleArgumentParser[SglangDecodeSettings]:
    return DynamoFlexibleArgumentParser(
        SglangDecodeSettings, Deployment, engine=SGLANG, derive=derive, variables=variables
    )


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser().parse(argv)
    settings = arguments.settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        namespace = runtime.namespace(settings.namespace)
        component = namespace.component(settings.component)
        await component.create_service()

        endpoint = component.endpoint(settings.endpoint)
        prefill = namespace.component(settings.prefill_component).endpoint(settings.endpoint)
        async with DecodeHandler(settings, arguments.engine) as handler:
            await endpoint.register_model(handler.card)
            await endpoint.serve_endpoint(handler.generate, until=handler.failed(), needs=prefill)

    run(worker())


if __name__ == "__main__":
    main()
