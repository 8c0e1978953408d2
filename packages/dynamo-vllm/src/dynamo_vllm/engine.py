"""Starting vLLM's engine.

Imports vLLM, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from pydantic import ValidationError
from vllm.config import KVEventsConfig, VllmConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.reasoning import ReasoningParserManager
from vllm.utils.system_utils import get_mp_context
from vllm.v1.engine import utils
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.metrics.loggers import StatLoggerBase
from vllm.v1.metrics.prometheus import get_prometheus_registry
from vllm.v1.metrics.stats import IterationStats, SchedulerStats

from dynamo_core.args import EngineOptions
from dynamo_core.errors import UserError
from dynamo_core.handlers.kv_events import KvEventSocket
from dynamo_core.handlers.spare import used_by
from dynamo_vllm.errors import readable

logger = logging.getLogger(__name__)


def start_engine(
    options: EngineOptions,
    *,
    kv_events: KvEventSocket,
    report_load: Callable[[int, int], None],
    prepare: Callable[[VllmConfig], None],
) -> AsyncLLM:
    """Start vLLM; takes seconds to minutes and blocks.

    KV events, if there are any, are published at `kv_events` unless the options name another address.
    `report_load` is called with used KV blocks and rank after each step, `prepare` with vLLM's configuration
    before any process is started. Raises `UserError` for arguments that vLLM refuses by then.
    """
    arguments = AsyncEngineArgs.from_cli_args(options.namespace())
    events = arguments.kv_events_config
    if events is not None and events.enable_kv_cache_events and events.endpoint == KVEventsConfig.endpoint:
        events.endpoint = kv_events.endpoint
    if not arguments.reasoning_parser_plugin:
        _only_known_reasoning(arguments)
    try:
        config = arguments.create_engine_config()
    except (ValidationError, ValueError, OSError) as error:
        raise UserError(f"vLLM refuses these arguments: {readable(error)}") from error
    prepare(config)

    def load_logger(config: VllmConfig, engine_index: int = 0) -> LoadLogger:
        return LoadLogger(config, engine_index, report_load)

    spawns = get_mp_context().get_start_method() == "spawn"
    with used_by(utils) if spawns else contextlib.nullcontext():
        return AsyncLLM.from_vllm_config(config, enable_log_requests=False, stat_loggers=[load_logger])


def metrics() -> str:
    """vLLM's own metrics, and what its library says of this process."""
    from prometheus_client import generate_latest

    return generate_latest(get_prometheus_registry()).decode()


def _only_known_reasoning(arguments: AsyncEngineArgs) -> None:
    """vLLM has reasoning parsers of its own, which keep guided decoding out of the reasoning. The frontend
    knows names that vLLM does not; its parsing needs nothing of vLLM."""
    name = arguments.reasoning_parser
    if name and name not in ReasoningParserManager.list_registered():
        logger.info("vLLM has no reasoning parser %s: guided decoding constrains the reasoning, too", name)
        arguments.reasoning_parser = ""


class LoadLogger(StatLoggerBase):
    """Hands on how full the KV cache of one rank is."""

    def __init__(
        self, config: VllmConfig, engine_index: int, report_load: Callable[[int, int], None]
    ) -> None:
        self._blocks = config.cache_config.num_gpu_blocks or 0
        self._report_load = report_load

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: object = None,
        engine_idx: int = 0,
    ) -> None:
        if scheduler_stats is not None:
            self._report_load(round(scheduler_stats.kv_cache_usage * self._blocks), engine_idx)

    def log_engine_initialized(self) -> None:
        pass
