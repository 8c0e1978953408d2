"""Starting TensorRT-LLM's engine.

Imports TensorRT-LLM, and with it MPI, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

from typing import Any

from tensorrt_llm import LLM
from tensorrt_llm.llmapi import KvCacheConfig
from transformers import AutoConfig, GenerationConfig

from dynamo_core.args import EngineOptions
from dynamo_core.errors import UserError

DEFAULTS = ("temperature", "top_p", "top_k", "repetition_penalty")
"""What TensorRT-LLM takes of a model's own generation settings, under the same names."""


def context_length(model: str) -> int:
    """How many tokens the model was made for, prompt and output together."""
    length: int = AutoConfig.from_pretrained(model).get_text_config().max_position_embeddings
    return length


def generation_defaults(model: str) -> dict[str, Any]:
    """The model's own generation settings, where it brings some."""
    try:
        given = GenerationConfig.from_pretrained(model).to_diff_dict()
    except OSError:  # no generation_config.json
        return {}
    return {name: given[name] for name in DEFAULTS if given.get(name) is not None}


def publishes_kv_events(config: KvCacheConfig) -> bool:
    """Whether an engine with this cache tells what is in it."""
    return bool(config.enable_block_reuse and config.event_buffer_max_size > 0)


def start_engine(options: EngineOptions, *, kv_events_for: str = "") -> LLM:
    """Start TensorRT-LLM; takes seconds to minutes and blocks.

    `kv_events_for` is the setting that needs KV events, if there is one. Raises `UserError` for arguments
    that TensorRT-LLM refuses, or that leave it none.
    """
    arguments = vars(options.namespace())
    if kv_events_for and not publishes_kv_events(arguments["kv_cache_config"]):
        raise UserError(
            f"{kv_events_for} needs KV events, and kv-cache-config turns them off",
            fix="leave enable_block_reuse and event_buffer_max_size out of kv-cache-config",
        )
    try:
        return LLM(**arguments, skip_tokenizer_init=True)
    except ValueError as error:
        raise UserError(f"TensorRT-LLM refuses these arguments: {error}") from error
