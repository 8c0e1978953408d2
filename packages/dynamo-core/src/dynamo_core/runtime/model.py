"""A model card in the words of the Rust runtime."""

from __future__ import annotations

from typing import Any

from dynamo_core.errors import UserError
from dynamo_core.handlers.card import ModelCard, Role

_SAME_IN_RUST = (
    "context_length",
    "total_kv_blocks",
    "max_num_seqs",
    "max_num_batched_tokens",
    "tool_call_parser",
    "reasoning_parser",
)
_OTHER_HALF: dict[Role, Role] = {"prefill": "decode", "decode": "prefill"}


def _stage(role: Role) -> Any:
    from dynamo import _core

    return getattr(_core.WorkerType, role.capitalize())


async def register(
    endpoint: Any, card: ModelCard, *, status_server: bool, adapter: str | None = None
) -> None:
    """Publish `card` for a Rust endpoint; with `adapter`, as a model of that name beside it.

    Without a status server the card's files are read from `model_path` by each frontend, so that
    folder must be visible to them.
    """
    from dynamo import _core

    config = _core.ModelRuntimeConfig()
    for name in _SAME_IN_RUST:
        value = getattr(card, name)
        if value is not None:
            setattr(config, name, value)
    config.kv_event_publishing_enabled = card.publishes_kv_events
    config.enable_local_indexer = card.publishes_kv_events
    config.data_parallel_size = card.data_parallel_ranks
    config.data_parallel_start_rank = card.first_data_parallel_rank
    if card.bootstrap is not None:
        config.set_disaggregated_endpoint(*card.bootstrap)
    surfaces = {
        "chat": _core.ModelType.Chat,
        "completions": _core.ModelType.Completions,
        "embeddings": _core.ModelType.Embedding,
    }
    model_type = _core.ModelType.Empty
    for surface in card.surfaces if card.role != "prefill" else ():
        model_type = model_type | surfaces[surface]
    try:
        await _core.register_model(
            _core.ModelInput.Tokens,
            model_type,
            endpoint,
            card.model_path,
            card.name,
            worker_type=_stage(card.role),
            needs=[[_stage(_OTHER_HALF[card.role])]] if card.role in _OTHER_HALF else None,
            kv_cache_block_size=card.kv_block_size,
            runtime_config=config,
            self_host_metadata=None if status_server else False,
            lora_name=adapter,
            base_model_path=card.model_path if adapter else None,
        )
    except Exception as error:
        raise UserError(
            f"the runtime cannot serve the model folder {card.model_path}: {error}",
            fix="check that it holds config.json and a tokenizer",
        ) from error
