"""What a worker advertises about its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Self

from dynamo_core.args.groups import AdapterSettings, ModelSettings, ParserSettings

Role = Literal["aggregated", "prefill", "decode"]
Surface = Literal["chat", "completions", "embeddings"]


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
    publishes_kv_events: bool = False
    data_parallel_ranks: int = 1
    """Each has a KV cache of its own, and routers choose among them."""
    first_data_parallel_rank: int = 0
    """Above 0 if the engine's first ranks are those of other workers."""
    bootstrap: tuple[str, int] | None = None
    """Host and port at which decode workers find this prefill worker while it is still computing."""
    tool_call_parser: str | None = None
    reasoning_parser: str | None = None
    takes_adapters: bool = False
    """Whether LoRA adapters can be loaded beside the model."""

    @classmethod
    def of(cls, settings: ModelSettings, **facts: Any) -> Self:
        """The card that a worker's settings ask for; `facts` are the fields that only its engine knows."""
        if isinstance(settings, ParserSettings):
            facts.setdefault("tool_call_parser", settings.tool_call_parser)
            facts.setdefault("reasoning_parser", settings.reasoning_parser)
        if isinstance(settings, AdapterSettings):
            facts.setdefault("takes_adapters", settings.enable_lora)
        return cls(settings.model, settings.served_model_name or settings.model, **facts)
