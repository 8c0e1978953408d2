"""What the three SGLang workers share: the life of their engine, and of a request in it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dynamo_core import environment
from dynamo_core.args import EngineOptions, TransferHostSettings
from dynamo_core.errors import UserError
from dynamo_core.handlers import BaseWorker, EmbeddingRequest, Embeddings, ModelCard, Request
from dynamo_core.handlers.adapters import Adapter
from dynamo_core.handlers.card import Surface
from dynamo_core.handlers.engine_processes import EngineProcesses
from dynamo_core.handlers.kv_events import KvEventSocket, KvEventSource, sources
from dynamo_core.handlers.media import image_urls, refuse_media
from dynamo_core.handlers.private_folder import PrivateFolder
from dynamo_core.models import engine_import
from dynamo_core.runtime.context import Context
from dynamo_sglang.args import INSTALL, SglangSettings, transfer_variables
from dynamo_sglang.convert import EngineLimits, choices_apart

if TYPE_CHECKING:
    from sglang import Engine
    from sglang.srt.configs.model_config import ModelConfig

    from dynamo_core.runtime.component import Endpoint

LOAD_INTERVAL = 0.1
"""Seconds between two looks at the engine's load."""


class SglangBase(BaseWorker):
    """Starts and stops SGLang."""

    bootstrap: tuple[str, int] | None = None
    """Where decode workers find the engine of a prefill worker."""
    common_names = {
        "dynamo_core_requests_waiting": "sglang:num_queue_reqs",
        "dynamo_core_requests_running": "sglang:num_running_reqs",
        "dynamo_core_kv_cache_usage_ratio": "sglang:token_usage",
        "dynamo_core_prefix_cache_queried_tokens": "sglang:prefill_effective_tokens",
        "dynamo_core_prefix_cache_hit_tokens": "sglang:cached_tokens",
        "dynamo_core_prompt_tokens": "sglang:prompt_tokens",
        "dynamo_core_generated_tokens": "sglang:generation_tokens",
        "dynamo_core_time_to_first_token_seconds": "sglang:time_to_first_token_seconds",
        "dynamo_core_inter_token_latency_seconds": "sglang:inter_token_latency_seconds",
    }

    def __init__(self, settings: SglangSettings, options: EngineOptions) -> None:
        super().__init__()
        self.settings = settings
        self.options = options
        self.processes = EngineProcesses(self.fail)
        self.kv_event_socket = KvEventSocket()
        self.metrics_folder = PrivateFolder("metrics")
        self._load_watch: asyncio.Task[None] | None = None

    async def start(self) -> ModelCard:
        if isinstance(self.settings, TransferHostSettings):
            environment.publish(transfer_variables(self.settings))
        # SGLang's processes send SIGQUIT when they fail, and its own answer is to SIGKILL us all.
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGQUIT, self.processes.report_death)
        self.engine = await self.processes.start(self._build)
        manager = self.engine.tokenizer_manager
        manager.auto_create_handle_loop()
        loop.add_signal_handler(signal.SIGQUIT, self.processes.report_death)

        self.limits = EngineLimits.of(self.engine)
        self.defaults = manager.model_config.get_default_sampling_params()
        self.arguments = self.engine.server_args.resolved_dict()
        state = await manager.get_internal_state()
        return ModelCard.of(
            self.settings,
            context_length=self.limits.context_len,
            kv_block_size=self.limits.page_size,
            total_kv_blocks=self.limits.kv_tokens // self.limits.page_size,
            max_num_seqs=state[0]["effective_max_running_requests_per_dp"],
            max_num_batched_tokens=self.arguments["max_prefill_tokens"],
            role=self.role,
            surfaces=_surfaces(manager.model_config),
            publishes_kv_events=bool(self.kv_event_sources()),
            data_parallel_ranks=self.arguments["dp_size"],
            bootstrap=self.bootstrap,
        )

    def engine_metrics(self) -> str:
        from dynamo_sglang.engine import metrics

        return metrics() if self.arguments["enable_metrics"] else ""

    def kv_event_sources(self) -> Sequence[KvEventSource]:
        if not self.arguments["kv_events_config"]:
            return ()
        from sglang.srt.disaggregation.kv_events import KVEventsConfig

        config = KVEventsConfig.from_cli(self.arguments["kv_events_config"])
        if config.publisher != "zmq":
            return ()
        return sources(config.endpoint, ranks=self.arguments["dp_size"], topic=config.topic)

    async def report_to(self, endpoint: Endpoint) -> None:
        await super().report_to(endpoint)
        if self.feed is not None:
            self._load_watch = asyncio.create_task(self._watch_load())

    async def _watch_load(self) -> None:
        """SGLang's schedulers leave their load in shared memory, where a look costs them nothing."""
        reader = self.engine.tokenizer_manager.load_snapshot_reader
        while True:
            for load in reader.read_all():
                self.report_load(-(-load.num_used_tokens // self.limits.page_size), load.dp_rank)
            await asyncio.sleep(LOAD_INTERVAL)

    def _build(self) -> Engine:
        with engine_import("sglang", fix=INSTALL):
            from dynamo_sglang.engine import start_engine

        return start_engine(
            self.options,
            kv_events=self.kv_event_socket,
            metrics_folder=self.metrics_folder,
            bootstrap=self.bootstrap,
            reasoning_parser=self.settings.reasoning_parser,
        )

    async def add_adapter(self, adapter: Adapter, *, again: bool) -> None:
        # SGLang tells the KV of adapters apart by a number that it gives to each load.
        from dynamo_sglang.adapters import load

        await load(self.engine.tokenizer_manager, adapter)

    async def remove_adapter(self, adapter: Adapter) -> None:
        from dynamo_sglang.adapters import unload

        await unload(self.engine.tokenizer_manager, adapter)

    async def embed(self, request: EmbeddingRequest, context: Context) -> AsyncGenerator[Embeddings, None]:
        from dynamo_sglang.embed import embed

        about = self._about(request, context)
        manager = self.engine.tokenizer_manager
        rid = unused_id(context.id(), manager.rid_to_state)
        yield await embed(manager, request, rid, about, limits=self.limits)

    def _about(self, request: Request | EmbeddingRequest, context: Context) -> dict[str, Any]:
        """What the engine is told about a request besides what its client asked for: the adapter that it is
        for, and its trace."""
        about: dict[str, Any] = {}
        if self.adapters and (adapter := self.adapters.of(request)):
            about["lora_path"] = adapter.name
        if self.arguments["enable_trace"]:
            about["external_trace_header"] = context.trace_headers()
        return about

    def _images(self, request: Request) -> dict[str, Any]:
        if not self.engine.tokenizer_manager.model_config.is_image_understandable_model:
            refuse_media(request)
            return {}
        urls = image_urls(request, domains=self.arguments["allowed_media_domains"] or ())
        return {"image_data": urls} if urls else {}

    @contextlib.asynccontextmanager
    async def answering(
        self, request: Request, context: Context, arguments: Mapping[str, Any]
    ) -> AsyncIterator[AsyncGenerator[Mapping[str, Any], None]]:
        """What the engine says to one request, as long as the context lasts; then it is forgotten, finished
        or not."""
        manager = self.engine.tokenizer_manager
        rid = unused_id(context.id(), manager.rid_to_state)
        about = {**self._about(request, context), **self._images(request)}
        if "lora_path" in about:
            arguments = choices_apart(arguments)  # SGLang counts one more than it has, and never unloads
        outputs = await self.engine.async_generate(stream=True, rid=rid, **{**arguments, **about})
        try:
            yield outputs
        finally:
            await outputs.aclose()
            if rid in manager.rid_to_state:
                manager.abort_request(rid=rid, abort_all=False)
            choices = arguments["sampling_params"].get("n", 1)
            for index in range(choices if choices > 1 else 0):  # SGLang forgets all of them but one
                manager.rid_to_state.pop(f"{rid}_{index}", None)

    async def stop(self) -> None:
        if self._load_watch is not None:
            self._load_watch.cancel()
        engine = getattr(self, "engine", None)
        await self.processes.stop(engine.shutdown if engine else None)
        self.kv_event_socket.close()
        self.metrics_folder.close()


def unused_id(rid: str, known: Container[str]) -> str:
    """An id like `rid` that SGLang does not know. A frontend that sends a request once more gives it its old
    id, and SGLang knows that one until its scheduler has taken note of the end, which it may never do."""
    if rid in known or f"{rid}_0" in known or f"{rid}-0" in known:
        return f"{rid}.{secrets.token_hex(4)}"
    return rid


def _surfaces(model: ModelConfig) -> tuple[Surface, ...]:
    """What clients may call, by what SGLang has loaded the model for."""
    if model.is_generation:
        return ("chat", "completions")
    if (task := model.embedding_model_spec.task.value) == "embed":
        return ("embeddings",)
    raise UserError(
        "this worker serves models that generate text or make vectors; SGLang has loaded this one for "
        f"{task}",
        fix="give --is-embedding, if it is a model that makes vectors",
    )
