"""TensorRT-LLM's KV events and load, passed on to routers and to whoever reads metrics."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dynamo_core.handlers import ModelCard
from dynamo_core.runtime.feed import LOAD_INTERVAL, RouterFeed
from dynamo_trtllm.metrics import at_rest, exposition

if TYPE_CHECKING:
    from tensorrt_llm import LLM

logger = logging.getLogger(__name__)

EVENTS_INTERVAL = 0.02
"""Seconds between two looks; a prefix that routers do not know yet is computed once more elsewhere."""


class Reports:
    """Asks the engine again and again, since it tells nothing by itself.

    `on_failure` is called with the cause if the engine does not answer as it should and routers listen:
    they would believe for ever what they have heard last.
    """

    def __init__(self, on_failure: Callable[[str], None]) -> None:
        self._on_failure = on_failure
        self._feed: RouterFeed | None = None
        self._stats: Mapping[str, Any] = {}
        self._requests = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, engine: LLM, feed: RouterFeed | None, card: ModelCard) -> None:
        """Keep metrics, and report to `feed` if there is one, until `stop`; call it on the loop that requests
        arrive on."""
        block_size = card.kv_block_size or 0
        self._feed = feed
        if feed is not None:
            self._poll(engine.get_kv_cache_events_async, KvEvents(feed, block_size).take, EVENTS_INTERVAL)
        if engine.args.enable_iter_perf_stats:
            size = {"maxNumBlocks": card.total_kv_blocks or 0, "tokensPerBlock": block_size}
            self._stats = at_rest({"kvCacheStats": size})
            self._poll(engine.get_stats_async, self._step, LOAD_INTERVAL)

    def stop(self) -> None:
        """Ask no more; to be called before the engine ends."""
        for task in self._tasks:
            task.cancel()

    def metrics(self) -> str:
        """The latest figures; from any thread. Nothing if the engine was told to give none."""
        return exposition(self._stats)

    @contextlib.contextmanager
    def request(self) -> Iterator[None]:
        """Count a request in: of the end of all work an engine that works no more does not tell."""
        self._requests += 1
        try:
            yield
        finally:
            self._requests -= 1
            if not self._requests and self._stats:
                self._stats = at_rest(self._stats)
            if not self._requests and self._feed is not None:
                self._feed.load(0)

    def _step(self, stats: Mapping[str, Any]) -> None:
        """Keep what one step was like, and tell routers; steps from before the end of all work are past."""
        self._stats = stats if self._requests else at_rest(stats)
        kv_cache = stats.get("kvCacheStats")
        if kv_cache and self._requests and self._feed is not None:
            self._feed.load(kv_cache["usedNumBlocks"])

    def _poll(
        self,
        read: Callable[[float], AsyncIterable[dict[str, Any]]],
        take: Callable[[dict[str, Any]], None],
        interval: float,
    ) -> None:
        task = asyncio.ensure_future(poll(read, take, interval))
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        cause = f"TensorRT-LLM's KV events and load cannot be read: {type(error).__name__}: {error}"
        logger.error(cause, exc_info=error)
        self._stats = {}  # old figures would be taken for new ones
        if self._feed is not None:
            self._on_failure(cause)


async def poll(
    read: Callable[[float], AsyncIterable[dict[str, Any]]],
    take: Callable[[dict[str, Any]], None],
    interval: float,
) -> None:
    """Take all that is there, every `interval` seconds; never ends by itself."""
    while True:
        # Any time to wait for more would be time in which some releases block the event loop.
        with contextlib.suppress(asyncio.QueueEmpty):
            async for item in read(0):
                take(item)
        await asyncio.sleep(interval)


class KvEvents:
    """Tells a router of the blocks that it can know: full ones, whose hash follows from tokens alone,
    behind others that it knows. It remembers which it has kept to itself, so feed it every event in order.

    A model that mixes attention windows has a cache for each window; the widest is the one that counts.
    """

    def __init__(self, feed: RouterFeed, block_size: int) -> None:
        self._feed = feed
        self._block_size = block_size
        self._kept: set[int] = set()
        self._widest = 0

    def take(self, event: Mapping[str, Any]) -> None:
        """Pass one event of `LLM.get_kv_cache_events_async` on."""
        data, window = event["data"], event.get("window_size") or 0
        if data["type"] == "created":  # one for each window, before all others
            self._widest = max(self._widest, window)
        elif window < self._widest:
            return
        elif data["type"] == "stored":
            self._stored(data["parent_hash"], data["blocks"])
        elif data["type"] == "removed":
            self._removed(data["block_hashes"])

    def _stored(self, parent: int | None, blocks: list[dict[str, Any]]) -> None:
        tokens: list[int] = []
        hashes: list[int] = []
        is_known = parent not in self._kept
        for block in blocks:
            is_known = is_known and self._is_public(block["tokens"])
            if is_known:
                tokens += [token["token_id"] for token in block["tokens"]]
                hashes.append(signed(block["block_hash"]))
            else:
                self._kept.add(block["block_hash"])
        if hashes:
            self._feed.stored(tokens, hashes, None if parent is None else signed(parent))

    def _is_public(self, tokens: list[dict[str, Any]]) -> bool:
        return len(tokens) == self._block_size and not any(token.get("token_extra_id") for token in tokens)

    def _removed(self, hashes: list[int]) -> None:
        known = [signed(value) for value in hashes if value not in self._kept]
        self._kept.difference_update(hashes)
        if known:
            self._feed.removed(known)


def signed(value: int) -> int:
    """The same 64 bits as a signed number."""
    return (value + 2**63) % 2**64 - 2**63
