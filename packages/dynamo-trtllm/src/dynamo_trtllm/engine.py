"""Starting TensorRT-LLM's engine.

Imports TensorRT-LLM, and with it MPI, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

from typing import Any

from tensorrt_llm import LLM
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


def start_engine(options: EngineOptions) -> LLM:
    """Start TensorRT-LLM; takes seconds to minutes and blocks.

    Raises `UserError` for arguments that TensorRT-LLM refuses.
    """
    arguments = vars(options.namespace())
    try:
        return LLM(**arguments, skip_tokenizer_init=True)
    except ValueError as error:
        raise UserError(f"TensorRT-LLM refuses these arguments: {error}") from error
