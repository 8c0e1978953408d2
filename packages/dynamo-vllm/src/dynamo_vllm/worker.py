"""vLLM as a worker that serves whole requests.

dynamo-vllm-worker --model Qwen/Qwen3-0.6B
python -m dynamo_vllm.worker --model Qwen/Qwen3-0.6B --max-model-len 4096
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from dynamo_core import environment
from dynamo_core.args import DynamoFlexibleArgumentParser, EngineOptions
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import BaseWorker, Chunk, ModelCard, Request
from dynamo_core.handlers.engine_processes import EngineProcesses
from dynamo_core.models import engine_import
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_vllm.args import INSTALL, VLLM, VllmSettings, variables, vllm_variables

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

FIRST_CALL_TIMEOUT = 60.0
"""Seconds in which the started engine must answer its first call."""


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "vllm"
    role = "worker"
    resources = {"gpu": 1}


class VllmWorker(BaseWorker):
    """Prefill and decode in one engine."""

    def __init__(self, settings: VllmSettings, options: EngineOptions) -> None:
        super().__init__()
        self.settings = settings
        self.options = options
        self.processes = EngineProcesses(self.fail)

    async def start(self) -> ModelCard:
        environment.publish(vllm_variables(self.settings))
        self.engine = await self.processes.start(self._build)
        # Built in a thread, vLLM listens to its processes only from the first call on this loop on.
        await asyncio.wait_for(self.engine.get_supported_tasks(), FIRST_CALL_TIMEOUT)
        config = self.engine.vllm_config
        self.max_model_len = config.model_config.max_model_len
        self.defaults = config.model_config.get_diff_sampling_param()
        return ModelCard(
            model_path=self.settings.model,
            name=self.settings.served_model_name or self.settings.model,
            context_length=self.max_model_len,
            kv_block_size=config.cache_config.block_size,
            total_kv_blocks=config.cache_config.num_gpu_blocks,
            max_num_seqs=config.scheduler_config.max_num_seqs,
            max_num_batched_tokens=config.scheduler_config.max_num_batched_tokens,
        )

    def _build(self) -> AsyncLLM:
        with engine_import("vllm", fix=INSTALL):
            from dynamo_vllm.engine import start_engine

        return start_engine(self.options)

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        from dynamo_vllm.convert import ChunkBuilder, engine_input, sampling_params
        from dynamo_vllm.errors import engine_errors

        params = sampling_params(request, defaults=self.defaults, max_model_len=self.max_model_len)
        builder = ChunkBuilder(params)
        with engine_errors():
            async for output in self.engine.generate(engine_input(request), params, context.id()):
                for chunk in builder.chunks(output):
                    yield chunk

    async def stop(self) -> None:
        engine = getattr(self, "engine", None)
        if engine is not None and engine.output_handler is not None:
            engine.output_handler.cancel()  # it would take the end of the engine for its death
        await self.processes.stop(engine.shutdown if engine else None)


def parser() -> DynamoFlexibleArgumentParser[VllmSettings]:
    return DynamoFlexibleArgumentParser(
        VllmSettings,
        Deployment,
        engine=VLLM,
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
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(engine.generate, until=engine.failed())

    run(worker())


if __name__ == "__main__":
    main()
