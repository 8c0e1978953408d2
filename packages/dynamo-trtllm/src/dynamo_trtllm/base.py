"""What the three TensorRT-LLM workers share: the life of their engine, and one request to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dynamo_core import environment
from dynamo_core.args import EngineOptions
from dynamo_core.handlers import BaseWorker, ModelCard, Request
from dynamo_core.handlers.engine_processes import EngineProcesses
from dynamo_core.runtime.component import Endpoint
from dynamo_core.runtime.context import Context
from dynamo_trtllm.args import TrtllmSettings, trtllm_import, trtllm_variables, why_kv_events
from dynamo_trtllm.metrics import COMMON_NAMES
from dynamo_trtllm.reports import Reports

if TYPE_CHECKING:
    from tensorrt_llm import LLM, DisaggregatedParams, SamplingParams
    from tensorrt_llm.llmapi import RequestOutput


class TrtllmBase(BaseWorker):
    """Starts and stops TensorRT-LLM, and gives it requests."""

    common_names = COMMON_NAMES

    def __init__(self, settings: TrtllmSettings, options: EngineOptions) -> None:
        super().__init__()
        self.settings = settings
        self.options = options
        self.processes = EngineProcesses(self.fail)
        self.reports = Reports(self.fail)

    async def start(self) -> ModelCard:
        environment.publish(trtllm_variables(self.settings))
        self.engine = await self.processes.start(self._build)

        from dynamo_trtllm.engine import context_length, generation_defaults, publishes_kv_events

        capacity = self.engine.get_kv_cache_capacity()
        arguments = self.engine.args
        self.is_traced = arguments.otlp_traces_endpoint is not None
        self.context_length = arguments.max_seq_len or context_length(self.settings.model)
        self.defaults = generation_defaults(self.settings.model)
        return ModelCard.of(
            self.settings,
            context_length=self.context_length,
            kv_block_size=capacity["tokensPerBlock"],
            total_kv_blocks=capacity["maxNumBlocks"],
            max_num_seqs=arguments.max_batch_size,
            max_num_batched_tokens=arguments.max_num_tokens,
            role=self.role,
            publishes_kv_events=publishes_kv_events(arguments.kv_cache_config),
        )

    def _build(self) -> LLM:
        with trtllm_import():
            from dynamo_trtllm.engine import start_engine

        return start_engine(self.options, kv_events_for=why_kv_events(self.settings))

    async def report_to(self, endpoint: Endpoint) -> None:
        await super().report_to(endpoint)
        self.reports.start(self.engine, self.feed, self.card)

    def engine_metrics(self) -> str:
        return self.reports.metrics()

    @contextlib.contextmanager
    def running(
        self,
        request: Request,
        params: SamplingParams,
        context: Context,
        disaggregated: DisaggregatedParams | None = None,
    ) -> Iterator[RequestOutput]:
        """The engine's outputs for a request, which ends when the block does."""
        from dynamo_trtllm.convert import priority
        from dynamo_trtllm.errors import engine_errors

        kind = disaggregated.request_type if disaggregated else None
        salt = (request.get("routing") or {}).get("cache_salt")
        with self.reports.request(), engine_errors(fetches=kind == "generation_only"):
            outputs = self.engine.generate_async(
                request["token_ids"],
                sampling_params=params,
                streaming=kind != "context_only",  # one token, and its hand-over with it
                disaggregated_params=disaggregated,
                trace_headers=context.trace_headers() if self.is_traced else None,
                cache_salt=salt,
                priority=priority(request),
            )
            try:
                yield outputs
            finally:
                if not outputs.finished:
                    outputs.abort()

    async def stop(self) -> None:
        self.reports.stop()
        engine = getattr(self, "engine", None)
        await self.processes.stop(engine.shutdown if engine else None)
