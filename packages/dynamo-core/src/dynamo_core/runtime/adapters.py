"""How the Rust runtime counts LoRA adapters."""

from __future__ import annotations


def id_of(name: str) -> int:
    """The number of an adapter, the same in every process; above 0."""
    from dynamo import _core

    number: int = _core.lora_name_to_id(name)
    return number
