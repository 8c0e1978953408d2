"""What a worker tells routers besides its model: what is in its KV cache, and how full that is."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from dynamo_core.handlers.card import ModelCard
from dynamo_core.handlers.kv_events import KvEventSource

LOAD_INTERVAL = 0.1
"""Seconds between two reports of one rank; engines would give one for each step."""


class RouterFeed:
    """The feed of one worker; open it with `Endpoint.router_feed`.

    On the event plane zmq the Rust runtime (1.6.1) listens on all interfaces for whoever wants to hear it,
    whatever address it is told to advertise, so that token ids can be read from other machines.
    """

    def __init__(self, block_size: int, publishers: Mapping[int, Any], load: Any) -> None:
        self._block_size = block_size
        self._publishers = publishers
        self._load = load
        self._lock = threading.Lock()
        self._said: dict[int, tuple[int, float]] = {}

    @classmethod
    async def open(cls, endpoint: Any, card: ModelCard, sources: Sequence[KvEventSource]) -> RouterFeed:
        """The feed of a Rust endpoint. What `sources` publish over ZeroMQ is passed on; without any, the
        worker tells of each block itself."""
        from dynamo import _core

        load = _core.WorkerMetricsPublisher()
        await load.create_endpoint(endpoint)
        block_size = card.kv_block_size or 0

        def publisher(rank: int, zmq_endpoint: str | None = None, topic: str | None = None) -> Any:
            return _core.KvEventPublisher(
                endpoint,
                kv_block_size=block_size,
                dp_rank=rank,
                enable_local_indexer=True,
                zmq_endpoint=zmq_endpoint,
                zmq_topic=topic,
            )

        publishers = {s.rank: publisher(s.rank, s.endpoint, s.topic) for s in sources}
        if not sources:
            publishers = {rank: publisher(rank) for rank in range(card.data_parallel_ranks)}
        return cls(block_size, publishers, load)

    def stored(
        self, token_ids: Sequence[int], block_hashes: Sequence[int], parent: int | None, rank: int = 0
    ) -> None:
        """Blocks are in the cache now, one after the other: `token_ids` of all of them, a full block for
        each hash; `parent` is the hash of the block before the first. Hashes are signed 64-bit numbers."""
        sizes = [self._block_size] * len(block_hashes)
        self._publishers[rank].publish_stored(list(token_ids), sizes, list(block_hashes), parent)

    def removed(self, block_hashes: Sequence[int], rank: int = 0) -> None:
        """Blocks are no longer in the cache."""
        self._publishers[rank].publish_removed(list(block_hashes))

    def load(self, used_blocks: int, rank: int = 0) -> None:
        """How many KV blocks a rank uses now; from any thread. What has not changed is not repeated, and
        nothing oftener than every `LOAD_INTERVAL`, but for the end of all work."""
        now = time.monotonic()
        with self._lock:
            said, when = self._said.get(rank, (-1, 0.0))
            if used_blocks == said or (used_blocks and now - when < LOAD_INTERVAL):
                return
            self._said[rank] = used_blocks, now
        self._load.publish(dp_rank=rank, kv_used_blocks=used_blocks)
