"""The Rust runtime's simulated engine, as a library call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dynamo_core.errors import UserError
from dynamo_core.runtime.peers import watch_peers

if TYPE_CHECKING:
    from dynamo_core.runtime.component import Endpoint

logger = logging.getLogger(__name__)

INTERVAL = 0.02
"""Seconds between two looks at what discovery has told this process already."""


async def serve_mocker(
    endpoint: Endpoint,
    config: Mapping[str, Any],
    *,
    model_path: str,
    model_name: str,
    source: object = None,
    needs: Endpoint | None = None,
) -> None:
    """Serve `endpoint` with the mocker until the runtime is asked to stop; it registers its model.

    `config` is in the mocker's own words, `engine.worker_type` included: `aggregated`, `prefill` or
    `decode`; the error for what it does not understand names `source`. This process is ready, and says so,
    once others find it; without an instance of `needs` it is served but not ready.
    """
    from dynamo import _core

    runtime = endpoint.component.runtime
    path = f"dyn://{endpoint.path}"
    try:
        normal = _core._normalize_mocker_config(config)
        role, block_size = normal["engine"]["worker_type"], normal["engine"]["block_size"]
        arguments = _core.EntrypointArgs(
            _core.EngineType.Mocker,
            model_path=model_path,
            model_name=model_name,
            endpoint_id=path,
            mocker_engine_args=normal,
            runtime_config=_runtime_config(normal),
            kv_cache_block_size=block_size,
            is_prefill=role == "prefill",
            is_decode=role == "decode",
        )
        engine = await _core.make_engine(runtime.rust, arguments)
    except Exception as error:  # the Rust side has one type for everything
        raise UserError(f"the mocker refuses {source or 'its arguments'}: {error}") from error
    running = asyncio.ensure_future(_core.run_input(runtime.rust, path, engine))
    announcing = asyncio.ensure_future(_announce(endpoint, needs))
    try:
        await runtime.serve_until_stopped(running)
    finally:
        announcing.cancel()


def _runtime_config(config: Mapping[str, Any]) -> Any:
    """What the model's card says of an engine of this configuration."""
    from dynamo import _core

    engine = config["engine"]
    publishes = engine["enable_prefix_caching"] and engine["worker_type"] != "decode"
    found = _core.ModelRuntimeConfig()
    found.total_kv_blocks = engine["num_gpu_blocks"]
    found.max_num_seqs = engine["max_num_seqs"]
    found.max_num_batched_tokens = engine["max_num_batched_tokens"]
    found.data_parallel_size = config["dp_size"]
    found.kv_event_publishing_enabled = publishes
    found.enable_local_indexer = publishes and config["dynamo"]["enable_local_indexer"]
    if engine["max_model_len"]:
        found.context_length = engine["max_model_len"]
    return found


async def _announce(endpoint: Endpoint, needs: Endpoint | None) -> None:
    """Say whether this process is ready, as long as it serves."""
    runtime = endpoint.component.runtime

    def say(is_ready: bool) -> None:
        runtime.set_ready(is_ready)
        if is_ready:
            logger.info("%s is ready", endpoint.path)

    say(False)
    found, own = await endpoint.client(), runtime.rust_endpoint(endpoint.path).connection_id()
    while own not in found.instance_ids():
        await asyncio.sleep(INTERVAL)
    if needs is None:
        say(True)
    else:
        await watch_peers(endpoint.path, await needs.client(), say)
