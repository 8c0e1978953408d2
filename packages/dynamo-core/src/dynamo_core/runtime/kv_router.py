"""The Rust runtime's KV router, for routers that are components of their own."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dynamo_core.errors import CannotConnect, Disconnected
from dynamo_core.handlers.card import ModelCard, Surface
from dynamo_core.runtime.routing import KvRouting
from dynamo_core.runtime.translate import from_rust

if TYPE_CHECKING:
    from dynamo_core.runtime.component import Endpoint

SURFACES: tuple[Surface, ...] = ("chat", "completions")
"""What goes through the Rust router; it knows of no other answers than tokens."""
UNKNOWN_WORKER = "InvalidRequest: nvext.backend_instance_id"
"""How the Rust runtime begins to refuse a worker that has left since it was chosen."""


@dataclass(frozen=True)
class Candidate:
    """A worker that could take a request, or one of its data-parallel ranks."""

    worker: int
    """Its instance id."""
    rank: int
    cached_tokens: int
    """Of this prompt, at its beginning, in the worker's KV cache."""
    prefill_tokens: int
    """Of prompts, that it would have to compute: this one's and those that it already has."""
    decode_blocks: int
    """KV blocks of all requests that it would be answering."""
    requests: int
    """That it is answering now."""


class WorkerCards:
    """What the instances of an endpoint advertise, as discovery tells it."""

    def __init__(self, workers: Endpoint) -> None:
        from dynamo import _core

        # The one place where the Rust runtime shows Python the cards of others.
        self._watch = _core.FpmEventSubscriber(_rust(workers))
        self._watch.start_tracking()

    def read(self) -> list[ModelCard]:
        """The cards of all of them, without those of adapters."""
        cards = map(_model_card, self._watch.get_model_cards().values())
        return [card for card in cards if card is not None]

    def close(self) -> None:
        self._watch.shutdown()


class KvRouter:
    """Chooses among the instances of an endpoint by what is in their KV caches, and passes requests on."""

    def __init__(self, workers: Endpoint, block_size: int, routing: KvRouting) -> None:
        from dynamo import _core

        self._block_size = block_size
        self._rust = _core.KvRouter(_rust(workers), block_size, routing.rust())

    async def candidates(self, token_ids: list[int], routing: Mapping[str, Any]) -> list[Candidate]:
        """Every worker, with what this prompt would mean for it."""
        told: dict[str, Any] = {
            "lora_name": routing.get("lora_name"),
            "cache_namespace": routing.get("cache_salt"),
        }
        cached = {
            (worker["worker_id"], worker["dp_rank"]): worker["device_blocks"] * self._block_size
            for worker in (await self._rust.get_overlap_scores(token_ids, **told))["workers"]
        }
        loads = await self._rust.get_potential_loads(token_ids, **told)
        return [
            Candidate(
                worker=load["worker_id"],
                rank=load["dp_rank"],
                cached_tokens=cached.get((load["worker_id"], load["dp_rank"]), 0),
                prefill_tokens=load["potential_prefill_tokens"],
                decode_blocks=load["potential_decode_blocks"],
                requests=load["active_requests"],
            )
            for load in loads
        ]

    async def generate(self, request: Mapping[str, Any]) -> AsyncIterator[Any]:
        """Pass a request on, to the worker that its `routing` names if it does, and yield what comes back.

        Leaving the loop early cancels it there. Raises the request errors of `dynamo_core.errors`; a worker
        that is lost is `Disconnected`, which lets frontends move the request.
        """
        try:
            async for chunk in await self._rust.generate_from_request(request):
                yield chunk
        except Exception as error:  # the Rust side has a type of its own for few of its errors
            found = from_rust(error)
            is_lost = isinstance(found, CannotConnect) or str(found).startswith(UNKNOWN_WORKER)
            raise (Disconnected(str(found)) if is_lost else found) from None


def _rust(endpoint: Endpoint) -> Any:
    return endpoint.component.runtime.rust_endpoint(endpoint.path)


@functools.lru_cache(maxsize=1024)  # they are asked for again and again, and hardly ever change
def _model_card(text: str) -> ModelCard | None:
    """What a router says of the model behind it. Sizes of one worker are not those of all, and left out."""
    card = json.loads(text)
    if card.get("lora"):
        return None
    config = card["runtime_config"]
    surfaces = str(card["model_type"]).lower()
    return ModelCard(
        model_path=card["source_path"],
        name=card["display_name"],
        context_length=config.get("context_length"),
        kv_block_size=card["kv_cache_block_size"],
        surfaces=tuple(surface for surface in SURFACES if surface in surfaces),
        role=card.get("worker_type") or "aggregated",
        tool_call_parser=config.get("tool_call_parser"),
        reasoning_parser=config.get("reasoning_parser"),
    )
