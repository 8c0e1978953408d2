"""SGLang as a worker that serves whole requests.

dynamo-sglang-worker --model Qwen/Qwen3-0.6B
python -m dynamo_sglang.worker --model Qwen/Qwen3-0.6B --mem-fraction-static 0.8
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING, Any

from dynamo_core.args import DynamoFlexibleArgumentParser, EngineOptions
from dynamo_core.deploy import BaseDeployment
from dynamo_core.handlers import BaseWorker, Chunk, ModelCard, Request
from dynamo_core.handlers.engine_processes import EngineProcesses
from dynamo_core.models import engine_import
from dynamo_core.runtime import DistributedRuntime, dynamo_worker, run
from dynamo_core.runtime.context import Context
from dynamo_sglang.args import INSTALL, SGLANG, SglangSettings

if TYPE_CHECKING:
    from sglang import Engine


class Deployment(BaseDeployment):
    namespace = "dynamo"
    name = "sglang"
    role = "worker"
    resources = {"gpu": 1}


class SglangWorker(BaseWorker):
    """Prefill and decode in one engine."""

    def __init__(self, settings: SglangSettings, options: EngineOptions) -> None:
        super().__init__()
        self.settings = settings
        self.options = options
        self.processes = EngineProcesses(self.fail)

    async def start(self) -> ModelCard:
        # SGLang's processes send SIGQUIT when they fail, and its own answer is to SIGKILL us all.
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGQUIT, self.processes.report_death)
        self.engine = await self.processes.start(self._build)
        manager = self.engine.tokenizer_manager
        manager.auto_create_handle_loop()
        loop.add_signal_handler(signal.SIGQUIT, self.processes.report_death)

        from dynamo_sglang.convert import EngineLimits

        self.limits = EngineLimits.of(self.engine)
        self.defaults = manager.model_config.get_default_sampling_params()
        arguments = self.engine.server_args.resolved_dict()
        state = await manager.get_internal_state()
        return ModelCard(
            model_path=self.settings.model,
            name=self.settings.served_model_name or self.settings.model,
            context_length=self.limits.context_len,
            kv_block_size=self.limits.page_size,
            total_kv_blocks=self.limits.kv_tokens // self.limits.page_size,
            max_num_seqs=state[0]["effective_max_running_requests_per_dp"],
            max_num_batched_tokens=arguments["max_prefill_tokens"],
        )

    def _build(self) -> Engine:
        with engine_import("sglang", fix=INSTALL):
            from dynamo_sglang.engine import start_engine

        return start_engine(self.options)

    async def generate(self, request: Request, context: Context) -> AsyncGenerator[Chunk, None]:
        from dynamo_sglang.convert import ChunkBuilder, logprob_arguments, routing_arguments, sampling_params
        from dynamo_sglang.errors import engine_errors

        builder = ChunkBuilder(request)
        arguments = {
            "sampling_params": sampling_params(request, defaults=self.defaults, limits=self.limits),
            **logprob_arguments(request, limits=self.limits),
            **routing_arguments(request),
        }
        with engine_errors():
            outputs = await self.engine.async_generate(
                input_ids=request["token_ids"], stream=True, rid=context.id(), **arguments
            )
            try:
                async for output in outputs:
                    yield builder.chunk(output)
            finally:
                await self._release(outputs, context.id(), arguments["sampling_params"].get("n", 1))

    async def _release(self, outputs: AsyncGenerator[Any, None], rid: str, choices: int) -> None:
        """Let go of a request, finished or not."""
        manager = self.engine.tokenizer_manager
        await outputs.aclose()
        if rid in manager.rid_to_state:
            manager.abort_request(rid=rid, abort_all=False)
        for index in range(choices if choices > 1 else 0):  # SGLang forgets all of them but one
            manager.rid_to_state.pop(f"{rid}_{index}", None)

    async def stop(self) -> None:
        engine = getattr(self, "engine", None)
        await self.processes.stop(engine.shutdown if engine else None)


def parser() -> DynamoFlexibleArgumentParser[SglangSettings]:
    return DynamoFlexibleArgumentParser(
        SglangSettings,
        Deployment,
        engine=SGLANG,
        description="SGLang as a worker that serves whole requests.",
    )


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parser().parse(argv)
    settings = arguments.settings

    @dynamo_worker(settings)
    async def worker(runtime: DistributedRuntime) -> None:
        component = runtime.namespace(settings.namespace).component(settings.component)
        await component.create_service()
        endpoint = component.endpoint(settings.endpoint)

        async with SglangWorker(settings, arguments.engine) as engine:
            await endpoint.register_model(engine.card)
            await endpoint.serve_endpoint(engine.generate, until=engine.failed())

    run(worker())


if __name__ == "__main__":
    main()
