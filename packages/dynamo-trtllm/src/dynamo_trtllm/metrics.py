"""What TensorRT-LLM tells of one of its steps, as metrics under the names that its own server gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMMON_NAMES = {
    "dynamo_core_requests_waiting": "trtllm_num_requests_waiting",
    "dynamo_core_requests_running": "trtllm_num_requests_running",
    "dynamo_core_kv_cache_usage_ratio": "trtllm_kv_cache_utilization",
}


def exposition(stats: Mapping[str, Any]) -> str:
    """One step's figures in Prometheus' exposition format; what it does not tell is left out."""
    gauges = {**_requests(stats), **_kv_cache(stats.get("kvCacheStats") or {})}
    lines = [
        f"# TYPE trtllm_{name} gauge\ntrtllm_{name} {value}\n"
        for name, value in gauges.items()
        if value is not None
    ]
    return "".join(lines)


def _requests(stats: Mapping[str, Any]) -> dict[str, Any]:
    batch = stats.get("inflightBatchingStats") or {}
    return {
        "num_requests_waiting": stats.get("numQueuedRequests"),
        "num_requests_running": stats.get("numActiveRequests"),
        "num_scheduled_requests": batch.get("numScheduledRequests"),
        "num_context_requests": batch.get("numContextRequests"),
        "num_generation_requests": batch.get("numGenRequests"),
    }


def _kv_cache(kv_cache: Mapping[str, Any]) -> dict[str, Any]:
    used, most = kv_cache.get("usedNumBlocks"), kv_cache.get("maxNumBlocks")
    return {
        "kv_cache_utilization": None if used is None or not most else used / most,
        "kv_cache_hit_rate": kv_cache.get("cacheHitRate"),
        "kv_cache_max_blocks": most,
        "kv_cache_used_blocks": used,
        "kv_cache_free_blocks": kv_cache.get("freeNumBlocks"),
        "kv_cache_tokens_per_block": kv_cache.get("tokensPerBlock"),
    }


def at_rest(stats: Mapping[str, Any]) -> dict[str, Any]:
    """The same figures once no request is left, of which the engine does not tell."""
    kv_cache = dict(stats.get("kvCacheStats") or {})
    if "maxNumBlocks" in kv_cache:
        kv_cache.update(usedNumBlocks=0, freeNumBlocks=kv_cache["maxNumBlocks"])
    batch = dict.fromkeys(stats.get("inflightBatchingStats") or (), 0)
    return {
        **stats,
        "numActiveRequests": 0,
        "numQueuedRequests": 0,
        "kvCacheStats": kv_cache,
        "inflightBatchingStats": batch,
    }
