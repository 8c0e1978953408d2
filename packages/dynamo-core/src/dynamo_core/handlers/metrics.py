"""Metrics under the same names whatever the engine.

Engines count by themselves, in Prometheus' exposition format. What all of them count gets a second name
here when somebody reads the metrics, so that it costs nothing while tokens are made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

COMMON = {
    "dynamo_core_requests_waiting": "Requests that wait for the engine.",
    "dynamo_core_requests_running": "Requests that the engine is working on.",
    "dynamo_core_kv_cache_usage_ratio": "How full the KV cache is, from 0 to 1.",
    "dynamo_core_prefix_cache_queried_tokens": "Prompt tokens that were looked up in the prefix cache.",
    "dynamo_core_prefix_cache_hit_tokens": "Those that were found there; the quotient is the hit rate.",
    "dynamo_core_prompt_tokens": "Prompt tokens of requests that the engine has begun.",
    "dynamo_core_generated_tokens": "Tokens that the engine has generated.",
    "dynamo_core_time_to_first_token_seconds": "From the request's arrival to its first token.",
    "dynamo_core_inter_token_latency_seconds": "Between two tokens of a request.",
}
"""Name and help of each family. Counters have the suffix `_total` on their samples, and histograms theirs;
labels are the engine's."""

_SAMPLES = ("", "_total", "_bucket", "_count", "_sum")


def common_metrics(text: str, engine_names: Mapping[str, str]) -> str:
    """The families of an engine's metrics that have a common name, under that name.

    `engine_names` has the engine's name for each of `COMMON` that it counts.
    """
    names = {engine + s: common + s for common, engine in engine_names.items() for s in _SAMPLES}
    return "".join(f"{line}\n" for line in _renamed(text, names))


def _renamed(text: str, names: Mapping[str, str]) -> Iterator[str]:
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, family, kind = line.split(" ", 3)
            if family in names:
                yield f"# HELP {names[family]} {COMMON[names[family].removesuffix('_total')]}"
                yield f"# TYPE {names[family]} {kind}"
        elif not line.startswith("#"):
            end = min((at for at in (line.find("{"), line.find(" ")) if at > 0), default=0)
            if line[:end] in names:
                yield names[line[:end]] + line[end:]
