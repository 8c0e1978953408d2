"""What TensorRT-LLM's prefill worker hands over to a decode worker, as JSON and back.

Imports TensorRT-LLM, so only a worker that starts its engine may import this module.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from typing import Any

from tensorrt_llm import DisaggregatedParams
from tensorrt_llm.executor.result import Logprob

from dynamo_core.errors import Unknown

_LOWEST_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON does not have."""


def to_wire(params: DisaggregatedParams) -> dict[str, Any]:
    """All that is set. Raises `Unknown` for what JSON cannot hold, such as logits."""
    found = {field.name: getattr(params, field.name) for field in fields(params)}
    return {name: _encoded(value, name) for name, value in found.items() if value is not None}


def from_wire(handed_over: Mapping[str, Any]) -> DisaggregatedParams:
    """The same, for the request that goes on. Raises `Unknown` for what this release does not know."""
    try:
        decoded = {name: _decoded(value, name) for name, value in handed_over.items()}
        return DisaggregatedParams(**{**decoded, "request_type": "generation_only"})
    except (TypeError, ValueError) as error:
        raise Unknown(
            f"the prefill worker hands over what this decode worker cannot read: {error}; both need the same "
            "release of TensorRT-LLM"
        ) from error


def _encoded(value: Any, name: str) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Logprob):
        return [_encoded(value.logprob, name), value.rank]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return max(value, _LOWEST_LOGPROB)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, dict):
        return {str(key): _encoded(part, name) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(part, name) for part in value]
    raise Unknown(f"TensorRT-LLM's {name} cannot be handed over: it holds a {type(value).__name__}")


def _decoded(value: Any, name: str) -> Any:
    if name == "opaque_state":
        return base64.b64decode(value, validate=True)
    if name != "first_gen_log_probs":
        return value
    if isinstance(value, dict):
        return {int(token): Logprob(*entry) for token, entry in value.items()}
    return [_decoded(part, name) for part in value] if isinstance(value, list) else value
