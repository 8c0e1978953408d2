"""A model card in the words of the Rust runtime."""

from __future__ import annotations

from typing import Any

from dynamo_core.errors import UserError
from dynamo_core.handlers.card import ModelCard


async def register(endpoint: Any, card: ModelCard, *, status_server: bool) -> None:
    """Publish `card` for a Rust endpoint.

    Without a status server the card's files are read from `model_path` by each frontend, so that
    folder must be visible to them.
    """
    from dynamo import _core

    config = _core.ModelRuntimeConfig()
    for name in ("context_length", "total_kv_blocks", "max_num_seqs", "max_num_batched_tokens"):
        value = getattr(card, name)
        if value is not None:
            setattr(config, name, value)
    surfaces = {"chat": _core.ModelType.Chat, "completions": _core.ModelType.Completions}
    model_type = _core.ModelType.Empty
    for surface in card.surfaces:
        model_type = model_type | surfaces[surface]
    try:
        await _core.register_model(
            _core.ModelInput.Tokens,
            model_type,
            endpoint,
            card.model_path,
            card.name,
            worker_type=getattr(_core.WorkerType, card.role.capitalize()),
            kv_cache_block_size=card.kv_block_size,
            runtime_config=config,
            self_host_metadata=None if status_server else False,
        )
    except Exception as error:
        raise UserError(
            f"the runtime cannot serve the model folder {card.model_path}: {error}",
            fix="check that it holds config.json and a tokenizer",
        ) from error
