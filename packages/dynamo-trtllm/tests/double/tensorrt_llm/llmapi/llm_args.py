"""The arguments of `LLM`: names, types and defaults of those that the tests meet."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LoadFormat(StrEnum):
    AUTO = "auto"
    DUMMY = "dummy"


class KvCacheConfig(Strict):
    enable_block_reuse: bool = True
    max_tokens: int | None = None
    free_gpu_memory_fraction: float = Field(0.9, ge=0, le=1)
    host_cache_size: int | None = None
    event_buffer_max_size: int = 0
    enable_partial_reuse: bool = True
    dtype: str = "auto"
    tokens_per_block: int = 32


class CacheTransceiverConfig(Strict):
    backend: Literal["DEFAULT", "UCX", "NIXL", "MOONCAKE", "MPI"] | None = None
    max_tokens_in_buffer: int | None = None
    kv_transfer_timeout_ms: int | None = None


class TorchLlmArgs(Strict):
    model: str | Path = Field(description="The path to the model checkpoint, or its name.")
    tokenizer: Any = None
    tokenizer_mode: Literal["auto", "slow"] = Field("auto", description="How to load the tokenizer.")
    skip_tokenizer_init: bool = False
    trust_remote_code: bool = False
    tensor_parallel_size: int = Field(1, description="The tensor parallel size.")
    pipeline_parallel_size: int = 1
    context_parallel_size: int = 1
    moe_tensor_parallel_size: int | None = None
    moe_expert_parallel_size: int | None = None
    gpus_per_node: int | None = None
    enable_attention_dp: bool = False
    dtype: str = "auto"
    revision: str | None = None
    tokenizer_revision: str | None = None
    max_batch_size: PositiveInt | None = 2048
    max_num_tokens: int | None = 8192
    max_seq_len: int | None = Field(None, description="The longest sequence.")
    max_input_len: int | None = 1024
    max_beam_width: int | None = 1
    kv_cache_config: KvCacheConfig = Field(default_factory=KvCacheConfig, description="The KV cache.")
    cache_transceiver_config: CacheTransceiverConfig | None = None
    enable_chunked_prefill: bool = False
    reasoning_parser: str | None = None
    disable_overlap_scheduler: bool = False
    stream_interval: int = Field(1, ge=1)
    guided_decoding_backend: Literal["xgrammar", "llguidance"] | None = None
    load_format: str | LoadFormat = LoadFormat.AUTO
    pp_partition: list[int] | None = None
    enable_iter_perf_stats: bool = False
    enable_iter_req_stats: bool = False
    max_stats_len: int = 1000
    return_perf_metrics: bool = False
    otlp_traces_endpoint: str | None = None
