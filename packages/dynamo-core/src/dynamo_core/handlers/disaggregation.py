"""Prefill and decode in two workers: one computes the prompt, the other goes on from its KV cache.

The frontend sends a request to a prefill worker first, with `max_tokens` 1, and then the same prompt to
a decode worker, together with what the prefill worker said about where its KV cache is. If prefill
workers advertise a bootstrap address, it sends both at the same time, and the two find each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dynamo_core.args.groups import LocalPrefillSettings
from dynamo_core.errors import Unknown
from dynamo_core.handlers.base import BaseWorker
from dynamo_core.handlers.types import Chunk, Request

LEFT_TO_DECODE = {"left_to_decode": True}
"""What a prefill worker says about the KV cache of a prompt that it has not computed."""


class BasePrefillWorker(BaseWorker):
    """Computes prompts and keeps their KV cache for decode workers.

    `generate` gets requests with `max_tokens` 1 and yields one chunk, or ends with one, that carries
    `disaggregated_params`: what a decode worker of the same engine needs in order to fetch the KV
    cache, JSON only. Its finish reason is `"length"`, or none; with `"stop"`, the first token has
    ended the answer and there is nothing to decode.
    """

    role = "prefill"

    def left_to_decode(self, request: Request, settings: LocalPrefillSettings) -> Chunk | None:
        """The only chunk for a prompt that is the decode worker's, since to move its KV cache costs more than
        to compute it; None for one to compute here."""
        is_short = len(request["token_ids"]) <= settings.max_local_prefill_length
        if not is_short or request.get("_HEALTH_CHECK"):
            return None
        return {"token_ids": [], "finish_reason": "length", "disaggregated_params": {**LEFT_TO_DECODE}}

    def first_token_of(self, request: Request) -> Request:
        """The request with `min_tokens` brought down to the `max_tokens` that the frontend has set for this
        half; it goes on to mean that an end token is not to come first."""
        stop = request.get("stop_conditions") or {}
        fewest = min(stop.get("min_tokens") or 0, stop.get("max_tokens") or 0)
        return {**request, "stop_conditions": {**stop, "min_tokens": fewest}}


class BaseDecodeWorker(BaseWorker):
    """Answers requests whose prompt a prefill worker has computed.

    Serve it with the prefill workers' endpoint, as `serve_endpoint(…, needs=prefill)`: without one of
    them it is not ready.
    """

    role = "decode"

    def handed_over(self, request: Request) -> Mapping[str, Any] | None:
        """What the prefill worker says about this request's KV cache; None if no prefill worker has computed
        it, as with conditional disaggregation."""
        result = request.get("prefill_result") or {}
        params: Mapping[str, Any] | None = result.get("disaggregated_params")
        if params == LEFT_TO_DECODE:
            return None
        return params or request.get("bootstrap_info") or None

    def needs_prefill(self, request: Request) -> Mapping[str, Any]:
        """The same for an engine that cannot compute a prompt itself. Raises `Unknown`, a 500."""
        params = self.handed_over(request)
        if params is None:
            raise Unknown(
                f"this decode worker of {self.card.name} cannot compute prompts, and no prefill worker has "
                "computed this one: send requests through a frontend, without conditional disaggregation"
            )
        return params
