"""What the three vLLM workers share: the life of their engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dynamo_core import environment
from dynamo_core.args import EngineOptions, TransferSettings
from dynamo_core.environment import Variable
from dynamo_core.handlers import BaseWorker, ModelCard
from dynamo_core.handlers.engine_processes import EngineProcesses
from dynamo_core.handlers.kv_events import KvEventSocket, KvEventSource, sources
from dynamo_core.models import engine_import
from dynamo_core.ports import free_port_range
from dynamo_vllm.args import INSTALL, VllmSettings, vllm_variables

if TYPE_CHECKING:
    from vllm.v1.engine.async_llm import AsyncLLM

FIRST_CALL_TIMEOUT = 60.0
"""Seconds in which the started engine must answer its first call."""
SIDE_CHANNEL_PORT = "VLLM_NIXL_SIDE_CHANNEL_PORT"


class VllmBase(BaseWorker):
    """Starts and stops vLLM."""

    def __init__(self, settings: VllmSettings, options: EngineOptions) -> None:
        super().__init__()
        self.settings = settings
        self.options = options
        self.processes = EngineProcesses(self.fail)
        self.kv_event_socket = KvEventSocket()

    async def start(self) -> ModelCard:
        environment.publish(vllm_variables(self.settings))
        self.engine = await self.processes.start(self._build)
        # Built in a thread, vLLM listens to its processes only from the first call on this loop on.
        await asyncio.wait_for(self.engine.get_supported_tasks(), FIRST_CALL_TIMEOUT)
        config = self.engine.vllm_config
        self.max_model_len = config.model_config.max_model_len
        self.defaults = config.model_config.get_diff_sampling_param()
        self.ranks = config.parallel_config.data_parallel_size_local
        return ModelCard(
            model_path=self.settings.model,
            name=self.settings.served_model_name or self.settings.model,
            context_length=self.max_model_len,
            kv_block_size=config.cache_config.block_size,
            total_kv_blocks=config.cache_config.num_gpu_blocks,
            max_num_seqs=config.scheduler_config.max_num_seqs,
            max_num_batched_tokens=config.scheduler_config.max_num_batched_tokens,
            role=self.role,
            router_mode=getattr(self.settings, "router_mode", None),
            publishes_kv_events=bool(self.kv_event_sources()),
            data_parallel_ranks=self.ranks,
        )

    def kv_event_sources(self) -> Sequence[KvEventSource]:
        config = self.engine.vllm_config.kv_events_config
        if config is None or not config.enable_kv_cache_events or config.publisher != "zmq":
            return ()
        first = self.engine.vllm_config.parallel_config.data_parallel_rank
        return sources(config.endpoint, ranks=self.ranks, first_rank=first, topic=config.topic)

    def _build(self) -> AsyncLLM:
        with engine_import("vllm", fix=INSTALL):
            from dynamo_vllm.engine import start_engine

        return start_engine(
            self.options,
            kv_events=self.kv_event_socket,
            report_load=self.report_load,
            prepare=self._open_side_channel,
        )

    def _open_side_channel(self, ranks: int) -> None:
        """Choose the ports at which prefill and decode meet, one for each rank of vLLM's."""
        if isinstance(self.settings, TransferSettings) and not self.settings.kv_transfer_port:
            port = free_port_range(ranks, self.settings.kv_transfer_address)
            environment.publish([Variable(SIDE_CHANNEL_PORT, str(port), "KV transfer", yields=True)])

    async def stop(self) -> None:
        engine = getattr(self, "engine", None)
        if engine is not None and engine.output_handler is not None:
            engine.output_handler.cancel()  # it would take the end of the engine for its death
        await self.processes.stop(engine.shutdown if engine else None)
        self.kv_event_socket.close()
