"""What the three SGLang workers share: the life of their engine, and of a request in it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dynamo_core import environment
from dynamo_core.args import EngineOptions, TransferHostSettings
from dynamo_core.handlers import BaseWorker, ModelCard
from dynamo_core.handlers.engine_processes import EngineProcesses
from dynamo_core.handlers.kv_events import KvEventSocket, KvEventSource, sources
from dynamo_core.models import engine_import
from dynamo_sglang.args import INSTALL, SglangSettings, transfer_variables
from dynamo_sglang.convert import EngineLimits

if TYPE_CHECKING:
    from sglang import Engine

    from dynamo_core.runtime.component import Endpoint

LOAD_INTERVAL = 0.1
"""Seconds between two looks at the engine's load."""


class SglangBase(BaseWorker):
    """Starts and stops SGLang."""

    bootstrap: tuple[str, int] | None = None
    """Where decode workers find the engine of a prefill worker."""

    def __init__(self, settings: SglangSettings, options: EngineOptions) -> None:
        super().__init__()
        self.settings = settings
        self.options = options
        self.processes = EngineProcesses(self.fail)
        self.kv_event_socket = KvEventSocket()
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
            publishes_kv_events=bool(self.kv_event_sources()),
            data_parallel_ranks=self.arguments["dp_size"],
            bootstrap=self.bootstrap,
        )

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

        return start_engine(self.options, kv_events=self.kv_event_socket, bootstrap=self.bootstrap)

    @contextlib.asynccontextmanager
    async def answering(
        self, rid: str, arguments: Mapping[str, Any]
    ) -> AsyncIterator[AsyncGenerator[Mapping[str, Any], None]]:
        """What the engine says to one request, as long as the context lasts; then it is forgotten, finished
        or not."""
        manager = self.engine.tokenizer_manager
        outputs = await self.engine.async_generate(stream=True, rid=rid, **arguments)
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
