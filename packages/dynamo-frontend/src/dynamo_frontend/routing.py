"""The settings that say how a worker is chosen, for the frontend and for routers of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dynamo_core.args import Settings, setting
from dynamo_core.args.settings import declarations
from dynamo_core.routing import RouterMode
from dynamo_core.runtime.routing import KvRouting, Routing

GLOBAL_NAMESPACE = "dynamo"
"""A frontend of this namespace serves the models of all."""
LONGEST_SESSION = 31_536_000
"""Seconds; the Rust runtime's own limit."""


class KvRoutingSettings(Settings):
    "KV-aware routing"

    router_kv_events: bool = setting(
        KvRouting.kv_events,
        "Hear from the workers what they have cached; with --no-router-kv-events, guess it from where "
        "requests went.",
        env="DYN_ROUTER_USE_KV_EVENTS",
    )
    router_ttl: float = setting(
        KvRouting.ttl,
        "Seconds that such a guess holds.",
        env="DYN_ROUTER_TTL_SECS",
        ge=0,
        allow_inf_nan=False,
    )
    router_overlap_credit: float = setting(
        KvRouting.overlap_credit,
        "How much a cached block of the prompt counts against a worker's other load; 0 looks at load alone.",
        env="DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT",
        ge=0,
        allow_inf_nan=False,
    )
    router_temperature: float = setting(
        KvRouting.temperature,
        "0 takes the best worker; more spreads requests over those that are nearly as good.",
        ge=0,
        allow_inf_nan=False,
    )
    router_queue_threshold: float | None = setting(
        KvRouting.queue_threshold,
        "Keep requests back, those of high priority first out, while each worker has more prompt tokens to "
        "compute than this part of what one of its steps takes; if left out, they wait in the workers.",
        ge=0,
        allow_inf_nan=False,
    )
    router_replica_sync: bool = setting(
        KvRouting.replica_sync,
        "Tell other routers of the same workers where requests went, and listen to them.",
    )

    @property
    def kv_routing(self) -> KvRouting:
        return KvRouting(
            overlap_credit=self.router_overlap_credit,
            temperature=self.router_temperature,
            kv_events=self.router_kv_events,
            ttl=self.router_ttl,
            queue_threshold=self.router_queue_threshold,
            replica_sync=self.router_replica_sync,
        )


class FrontendKvRoutingSettings(KvRoutingSettings):
    "KV-aware routing: for --router-mode kv"

    router_max_prefill_tokens: int | None = setting(
        Routing.max_prefill_tokens,
        "A worker that has more prompt tokens than this to compute gets no request; when none is left, "
        "clients get a 529.",
        env="DYN_ACTIVE_PREFILL_TOKENS_THRESHOLD",
        ge=0,
    )
    conditional_disagg: int | None = setting(
        KvRouting.conditional_disagg,
        "Spare requests the prefill worker of which a decode worker has a part cached, and fewer tokens than "
        "this are new.",
        metavar="TOKENS",
        ge=1,
    )


class RoutingSettings(FrontendKvRoutingSettings):
    "Routing"

    router_mode: RouterMode = setting(Routing.mode, "How a worker is chosen for a request.")
    router_session_ttl: int | None = setting(
        Routing.session_ttl,
        "Keep the requests of a session, as x-dynamo-session-id names it, on one worker until it has been "
        "silent for so many seconds.",
        env="DYN_ROUTER_SESSION_AFFINITY_TTL_SECS",
        metavar="SECONDS",
        ge=1,
        le=LONGEST_SESSION,
    )
    router_max_kv_usage: float | None = setting(
        Routing.max_kv_usage,
        "A worker that has more than this part of its KV cache in use gets no request; when none is left, "
        "clients get a 529.",
        env="DYN_ACTIVE_DECODE_BLOCKS_THRESHOLD",
        ge=0,
        le=1,
    )
    migration_limit: int = setting(
        3, "How often a request may move to another worker when its worker is lost.", ge=0
    )

    @property
    def routing(self) -> Routing:
        """The same for the Rust frontend."""
        return Routing(
            mode=self.router_mode,
            kv=replace(self.kv_routing, conditional_disagg=self.conditional_disagg),
            session_ttl=self.router_session_ttl,
            max_kv_usage=self.router_max_kv_usage,
            max_prefill_tokens=self.router_max_prefill_tokens,
        )


def kv_problems(settings: KvRoutingSettings) -> Iterator[str]:
    """What does not go together, each beginning with a flag."""
    if settings.router_kv_events and settings.router_ttl != KvRouting.ttl:
        yield (
            f"--router-ttl {settings.router_ttl:g} counts only where caches are guessed, and workers tell "
            "theirs\n  fix: leave it out, or add --no-router-kv-events"
        )


def routing_problems(settings: RoutingSettings) -> Iterator[str]:
    """The same for a frontend."""
    if settings.router_mode != "kv":
        for declared in declarations(FrontendKvRoutingSettings).values():
            if getattr(settings, declared.name) != declared.default:
                yield (
                    f"{declared.flag} counts only with --router-mode kv, and that is {settings.router_mode}\n"
                    "  fix: leave it out, or give --router-mode kv"
                )
        return
    yield from kv_problems(settings)
    if settings.conditional_disagg is not None and not settings.router_kv_events:
        yield (
            "--conditional-disagg needs to hear what decode workers have cached, and --router-kv-events is "
            "off\n  fix: leave one of them out"
        )
