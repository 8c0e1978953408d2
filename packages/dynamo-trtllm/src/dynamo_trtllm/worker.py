"""TensorRT-LLM as a worker that serves whole requests.

dynamo-trtllm-worker --model Qwen/Qwen3-0.6B
python -m dynamo_trtllm.worker --model Qwen/Qwen3-0.6B --max-seq-len 4096
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from dynamo_core import environment
from dynamo_core.args import DynamoFlexibleArgumentParser, EngineOptions
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import BaseWorker, Chunk, ModelCard, Request
from dynamo_core.handlers.engine_processes import EngineProcesses
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_trtllm.args import TRTLLM, TrtllmSettings, trtllm_import, trtllm_variables, variables

if TYPE_CHECKING:
    from tensorrt_llm import LLM


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "trtllm"
    role = "worker"
    resources = {"gpu": 1}


class TrtllmWorker(BaseWorker):
    """Prefill and decode in one engine."""

    def __init__(self, settings: TrtllmSettings, options: EngineOptions) -> None:
        super().__init__()
        self.settings = settings
        self.options = options
        self.processes = EngineProcesses(self.fail)

    async def start(self) -> ModelCard:
        environment.publish(trtllm_variables(self.settings))
        self.engine = await self.processes.start(self._build)

        from dynamo_trtllm.engine import context_length, generation_defaults

        capacity = self.engine.get_kv_cache_capacity()
        arguments = self.engine.args
        self.context_length = arguments.max_seq_len or context_length(self.settings.model)
        self.defaults = generation_defaults(self.settings.model)
        return ModelCard(
            model_path=self.settings.model,
            name=self.settings.served_model_name or self.settings.model,
            context_length=self.context_length,
            kv_block_size=capacity["tokensPerBlock"],
            total_kv_blocks=capacity["maxNumBlocks"],
            max_num_seqs=arguments.max_batch_size,
            max_num_batched_tokens=arguments.max_num_tokens,
        )

    def _build(self) -> LLM:
        with trtllm_import():
            from dynamo_trtllm.engine import start_engine

        return start_engine(self.options)

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        from dynamo_trtllm.convert import ChunkBuilder, sampling_params
        from dynamo_trtllm.errors import engine_errors

        params = sampling_params(request, defaults=self.defaults, context_length=self.context_length)
        builder = ChunkBuilder(request, params)
        salt = (request.get("routing") or {}).get("cache_salt")
        with engine_errors():
            outputs = self.engine.generate_async(
                request["token_ids"], sampling_params=params, streaming=True, cache_salt=salt
            )
            try:
                async for output in outputs:
                    for chunk in builder.chunks(output):
                        yield chunk
            finally:
                if not outputs.finished:
                    outputs.abort()

    async def stop(self) -> None:
        engine = getattr(self, "engine", None)
        await self.processes.stop(engine.shutdown if engine else None)


def parser() -> DynamoFlexibleArgumentParser[TrtllmSettings]:
    return DynamoFlexibleArgumentParser(
        TrtllmSettings,
        Deployment,
        engine=TRTLLM,
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
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(engine.generate, until=engine.failed())

    run(worker())


if __name__ == "__main__":
    main()
