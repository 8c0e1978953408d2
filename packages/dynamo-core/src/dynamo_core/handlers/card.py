"""What a worker advertises about its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dynamo_core.routing import RouterMode

Role = Literal["aggregated", "prefill", "decode"]
Surface = Literal["chat", "completions"]


@dataclass(frozen=True)
class ModelCard:
    """A model as one worker serves it; sizes are the engine's own, after it has started.

    Routers count KV usage in blocks of `kv_block_size` tokens and refuse what `context_length` does
    not hold. None means that the engine has no such limit or does not tell it.
    """

    model_path: str
    """Folder with the tokenizer and configuration, or a Hugging Face model id."""
    name: str
    """What clients put into `model`."""
    context_length: int | None = None
    """Prompt and output together, in tokens."""
    kv_block_size: int | None = None
    """Tokens per KV block."""
    total_kv_blocks: int | None = None
    max_num_seqs: int | None = None
    """Sequences that run at the same time."""
    max_num_batched_tokens: int | None = None
    """Tokens per engine step."""
    surfaces: tuple[Surface, ...] = ("chat", "completions")
    """What clients may call; a prefill worker is called by frontends only."""
    role: Role = "aggregated"
    router_mode: RouterMode | None = None
    """How frontends are to choose among this model's workers; as they do by themselves if None."""
    publishes_kv_events: bool = False
    data_parallel_ranks: int = 1
    """Each has a KV cache of its own, and routers choose among them."""
    bootstrap: tuple[str, int] | None = None
    """Host and port at which decode workers find this prefill worker while it is still computing."""
