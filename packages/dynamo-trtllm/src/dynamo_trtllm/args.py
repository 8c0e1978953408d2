"""The settings of TensorRT-LLM's components; every other flag is an argument of TensorRT-LLM's `LLM`."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from dynamo_core.args import (
    ComponentSettings,
    DecodeSettings,
    Derived,
    Engine,
    GpuSettings,
    HealthSettings,
    KvEventSettings,
    LocalPrefillSettings,
    ModelSettings,
    ParserSettings,
    RoutedSettings,
    RuntimeSettings,
    StreamSettings,
)
from dynamo_core.args.engine import multiplied
from dynamo_core.environment import Variable
from dynamo_core.models import engine_import
from dynamo_core.runtime.variables import runtime_variables
from dynamo_trtllm.options import parser_of

INDEX = "https://pypi.nvidia.com"
EVENT_BUFFER = 16384
"""KV events that TensorRT-LLM keeps for us between two looks; what does not fit is lost to routers."""
TRANSFER_TIMEOUT = 60_000
"""Milliseconds; by itself TensorRT-LLM would wait for a lost peer for ever."""


class TrtllmSettings(
    ModelSettings,
    ParserSettings,
    GpuSettings,
    HealthSettings,
    StreamSettings,
    ComponentSettings,
    RuntimeSettings,
):
    "The settings of every TensorRT-LLM component"


class TrtllmWorkerSettings(RoutedSettings, TrtllmSettings):
    "The settings of dynamo-trtllm-worker"


class TrtllmPrefillSettings(RoutedSettings, LocalPrefillSettings, TrtllmSettings):
    "The settings of dynamo-trtllm-prefill"


class TrtllmDecodeSettings(KvEventSettings, DecodeSettings, TrtllmSettings):
    "The settings of dynamo-trtllm-decode"


def trtllm_variables(settings: TrtllmSettings) -> list[Variable]:
    """TensorRT-LLM's environment: what it reads nowhere else."""
    return [Variable("TLLM_LOG_LEVEL", settings.log_level.upper(), "log level", yields=True)]


def variables(settings: TrtllmSettings) -> list[Variable]:
    """All that the worker sets for the libraries in it."""
    return [*runtime_variables(settings), *trtllm_variables(settings)]


def trtllm_import() -> contextlib.AbstractContextManager[None]:
    """Wrap the import of TensorRT-LLM; it initialises MPI, so only a worker's process may do it."""
    return engine_import("tensorrt_llm", fix=f"pip install dynamo-trtllm --extra-index-url {INDEX}")


def build_parser() -> argparse.ArgumentParser:
    """The arguments of `LLM` as flags. Imports TensorRT-LLM."""
    with trtllm_import():
        from tensorrt_llm.llmapi import TorchLlmArgs
    return parser_of(TorchLlmArgs)


def why_kv_events(settings: TrtllmSettings) -> str:
    """The setting that asks for KV events; empty if none does."""
    return settings.why_kv_events if isinstance(settings, KvEventSettings) else ""


def derive(settings: TrtllmSettings) -> Iterator[Derived]:
    """The arguments of `LLM` that follow from the component and its settings."""
    if why := why_kv_events(settings):
        yield Derived("kv-cache-config.event_buffer_max_size", EVENT_BUFFER, why)
    if why or settings.status_port >= 0:  # load for routers, metrics for whoever asks
        yield Derived("enable-iter-perf-stats", True, why or "status-port")
    if endpoint := settings.otlp_traces_endpoint:
        yield Derived("otlp-traces-endpoint", endpoint, "otlp-endpoint")
        # Without the times of a request it makes no span of it.
        yield Derived("return-perf-metrics", True, "otlp-endpoint")
    if isinstance(settings, (TrtllmPrefillSettings, TrtllmDecodeSettings)):
        why = "role decode" if isinstance(settings, TrtllmDecodeSettings) else "role prefill"
        yield Derived("cache-transceiver-config.backend", "DEFAULT", why)
        yield Derived("cache-transceiver-config.kv_transfer_timeout_ms", TRANSFER_TIMEOUT, why)


def gpus(options: Mapping[str, Any]) -> int | None:
    """The GPUs that TensorRT-LLM takes on this machine; None if its options, as written, do not tell."""
    with contextlib.suppress(ValueError, TypeError):
        total = multiplied(options, "tensor-parallel-size", "pipeline-parallel-size", "context-parallel-size")
        return total if total is None else min(total, int(options.get("gpus-per-node") or total))
    return None


TRTLLM = Engine(
    "TensorRT-LLM",
    build_parser,
    shared={"model": "--model", "reasoning-parser": None},
    kept={"--skip-tokenizer-init": "the worker sets it, since prompts and answers are tokens here"},
    gpus=gpus,
    block_size="kv-cache-config.tokens_per_block",
    merges_parts=True,
    read_at_start=True,  # its import initialises MPI, which a launcher such as srun allows once per task
)
