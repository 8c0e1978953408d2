"""How a worker is chosen for a request, in the words of the Rust runtime."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dynamo_core.routing import RUST_NAMES, RouterMode


@dataclass(frozen=True)
class KvRouting:
    """How workers are weighed by what is in their KV caches.

    A request goes to the worker with the least to do for it and before it: the tokens of prompts
    that are not cached there, and the blocks of answers that it is giving.
    """

    overlap_credit: float = 1.0
    """What a cached block of the prompt saves, in blocks; 0 leaves caches out of account."""
    temperature: float = 0.0
    """0 takes the best worker, more spreads requests over the next best."""
    kv_events: bool = True
    """Whether workers tell what they have cached; if not, it is guessed from where requests went."""
    ttl: float = 120.0
    """Seconds that such a guess holds."""
    queue_threshold: float | None = None
    """Requests wait here while every worker has more prompt tokens to compute than this part of what one
    of its steps takes; without, they wait in the workers' own queues."""
    replica_sync: bool = False
    """Whether routers tell each other where they have sent requests."""
    conditional_disagg: int | None = None
    """Requests stay on a decode worker that has a part of their prompt cached if fewer tokens than this
    are new."""

    def rust(self) -> Any:
        from dynamo import _core

        return _core.KvRouterConfig(
            overlap_score_credit=self.overlap_credit,
            router_temperature=self.temperature,
            use_kv_events=self.kv_events,
            router_ttl_secs=self.ttl,
            router_queue_threshold=self.queue_threshold,
            router_replica_sync=self.replica_sync,
            conditional_disagg_enabled=self.conditional_disagg is not None,
            conditional_disagg_eff_isl_threshold=self.conditional_disagg or 0,
            # Of the two conditions that have to hold, this one says: any cached part is enough.
            conditional_disagg_eff_isl_ratio_threshold=1.0,
        )


@dataclass(frozen=True)
class Routing:
    """How a frontend chooses."""

    mode: RouterMode = "round-robin"
    kv: KvRouting = KvRouting()
    session_ttl: int | None = None
    """Seconds without a request after which a session may go to another worker; None knows no sessions."""
    max_kv_usage: float | None = None
    """The part of its KV cache that a worker may have in use and still get requests."""
    max_prefill_tokens: int | None = None
    """The prompt tokens that a worker may have to compute and still get requests; in mode kv."""

    def rust(self) -> Any:
        from dynamo import _core

        return _core.RouterConfig(
            getattr(_core.RouterMode, RUST_NAMES[self.mode]),
            self.kv.rust(),
            active_decode_blocks_threshold=self.max_kv_usage,
            active_prefill_tokens_threshold=self.max_prefill_tokens,
            session_affinity_ttl_secs=self.session_ttl,
        )
