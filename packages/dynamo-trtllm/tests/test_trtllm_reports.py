"""What routers hear is what is in the cache; it ends with the worker, and failures are told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from dynamo_trtllm.reports import KvEvents, Reports, signed
from hypothesis import given
from hypothesis import strategies as st
from tensorrt_llm._cache import BlockCache
from tensorrt_llm.executor.result import IterationResult
from tensorrt_llm.llmapi import TorchLlmArgs

from dynamo_core.handlers import ModelCard

BLOCK = 4
CARD = ModelCard("folder", "tiny", kv_block_size=BLOCK, total_kv_blocks=64)


@dataclass
class Feed:
    """Stands for `RouterFeed`, and holds it to its contract."""

    tokens: dict[int, list[int]] = field(default_factory=dict)
    """Those of each block that routers know, by its hash."""
    loads: list[int] = field(default_factory=list)

    def stored(self, token_ids: list[int], block_hashes: list[int], parent: int | None) -> None:
        assert len(token_ids) == BLOCK * len(block_hashes)
        assert parent is None or parent in self.tokens
        for number, hash_ in enumerate(block_hashes):
            assert -(2**63) <= hash_ < 2**63
            self.tokens[hash_] = token_ids[number * BLOCK : (number + 1) * BLOCK]

    def removed(self, block_hashes: list[int]) -> None:
        for hash_ in block_hashes:
            del self.tokens[hash_]

    def load(self, used_blocks: int) -> None:
        self.loads.append(used_blocks)


def event(data: dict[str, Any], window: int | None = None) -> dict[str, Any]:
    return {"event_id": 0, "data": data} | ({} if window is None else {"window_size": window})


def block(hash_: int, size: int = BLOCK, extra: int = 0) -> dict[str, Any]:
    tokens = [{"token_id": token, "token_extra_id": extra} for token in range(size)]
    return {"block_hash": hash_, "tokens": tokens, "cache_level": 0, "priority": 35}


def stored(parent: int | None, *blocks: dict[str, Any]) -> dict[str, Any]:
    return {"type": "stored", "parent_hash": parent, "blocks": list(blocks)}


@given(st.lists(st.tuples(st.lists(st.integers(0, 1), min_size=1, max_size=30), st.booleans()), max_size=30))
def test_routers_know_the_full_blocks_of_the_cache(sequences: list[tuple[list[int], bool]]) -> None:
    """On the double's own cache, which is small enough to forget."""
    cache, feed = BlockCache(8, BLOCK, 1000), Feed()
    events = KvEvents(feed, BLOCK)
    for tokens, partial in sequences:
        cache.store(tokens, partial=partial)
        while cache.events:
            events.take(cache.events.popleft())
        assert set(feed.tokens) <= {signed(hash_) for hash_ in cache._held}
        for end in range(BLOCK, cache.reuse(tokens) - cache.reuse(tokens) % BLOCK + 1, BLOCK):
            assert tokens[end - BLOCK : end] in feed.tokens.values()


@given(st.integers(0, 2**64 - 1))
def test_hashes_are_the_same_64_bits(value: int) -> None:
    assert signed(value).to_bytes(8, "big", signed=True) == value.to_bytes(8, "big")
    assert signed(signed(value)) == signed(value)


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        (stored(None, block(1, size=3)), "partial"),
        (stored(None, block(1, extra=9)), "an image, a prompt table: not from its tokens alone"),
    ],
)
def test_what_routers_cannot_know_is_kept_with_all_that_follows(kept: dict[str, Any], why: str) -> None:
    feed = Feed()
    events = KvEvents(feed, BLOCK)
    events.take(event(kept))
    events.take(event(stored(1, block(2), block(3))))
    assert feed.tokens == {}, why
    events.take(event({"type": "removed", "block_hashes": [1, 2, 3]}))
    events.take(event(stored(None, block(1))))  # the same hash, for something else
    assert set(feed.tokens) == {1}


def test_only_the_widest_window_counts() -> None:
    feed = Feed()
    events = KvEvents(feed, BLOCK)
    for window in (128, 2048, 512):
        events.take(event({"type": "created", "num_blocks_per_cache_level": [64, 0]}, window))
    for number, window in enumerate((128, 2048, 512)):
        events.take(event(stored(None, block(number)), window))
    assert set(feed.tokens) == {1}
    events.take(event({"type": "removed", "block_hashes": [1]}, 128))
    assert set(feed.tokens) == {1}


def test_releases_that_tell_no_window_and_events_that_change_nothing() -> None:
    feed = Feed()
    events = KvEvents(feed, BLOCK)
    events.take(event({"type": "created", "num_blocks_per_cache_level": [64, 0]}))
    events.take(event(stored(None, block(1))))
    events.take(event({"type": "updated", "block_hash": 1, "cache_level": {"old_value": 0, "new_value": 1}}))
    assert set(feed.tokens) == {1}


class Engine:
    """What reports use of `LLM`."""

    def __init__(self) -> None:
        self.args = TorchLlmArgs(model="m", enable_iter_perf_stats=True)
        self.cache = BlockCache(8, BLOCK, 1000)
        self.stats: Any = asyncio.Queue()._queue  # a deque
        self.error: Exception | None = None
        self.calls = 0

    def get_kv_cache_events_async(self, timeout: float | None = 2) -> IterationResult:
        self.calls += 1
        if self.error:
            raise self.error
        return IterationResult(self.cache.events, timeout)

    def get_stats_async(self, timeout: float | None = 2) -> IterationResult:
        return IterationResult(self.stats, timeout)


@pytest.fixture
async def engine() -> Engine:
    return Engine()


@pytest.fixture
def failures() -> list[str]:
    return []


@pytest.fixture
def reports(failures: list[str]) -> Iterator[Reports]:
    reports = Reports(failures.append)
    yield reports
    reports.stop()


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_events_and_load_arrive(engine: Engine, reports: Reports) -> None:
    feed: Any = Feed()
    reports.start(engine, feed, CARD)  # type: ignore[arg-type]
    with reports.request():
        engine.cache.store([1] * BLOCK, partial=False)
        engine.stats.append({"iter": 1})
        engine.stats.append({"iter": 2, "kvCacheStats": {"maxNumBlocks": 64, "usedNumBlocks": 3}})
        await until(lambda: feed.tokens and feed.loads)
        engine.cache.store([2] * BLOCK, partial=False)
        await until(lambda: len(feed.tokens) == 2)
    assert feed.loads == [3, 0]
    engine.stats.append({"iter": 3, "kvCacheStats": {"maxNumBlocks": 64, "usedNumBlocks": 3}})
    await until(lambda: not engine.stats)
    assert feed.loads == [3, 0], "a step's figures from before the end of all work"


async def test_it_ends_with_the_worker(engine: Engine, reports: Reports, failures: list[str]) -> None:
    before = asyncio.all_tasks()
    reports.start(engine, Feed(), CARD)  # type: ignore[arg-type]
    await until(lambda: engine.calls)
    reports.stop()
    await until(lambda: asyncio.all_tasks() == before)
    assert failures == []


async def test_an_engine_that_does_not_answer_is_a_failure(
    engine: Engine, reports: Reports, failures: list[str]
) -> None:
    engine.error = RuntimeError("no such queue")
    reports.start(engine, Feed(), CARD)  # type: ignore[arg-type]
    await until(lambda: failures)
    assert failures == ["TensorRT-LLM's KV events and load cannot be read: RuntimeError: no such queue"]


async def test_without_routers_it_costs_the_metrics_only(
    engine: Engine, reports: Reports, failures: list[str]
) -> None:
    reports.start(engine, None, CARD)  # type: ignore[arg-type]
    assert "trtllm_kv_cache_max_blocks 64" in reports.metrics()
    engine.stats.append("no figures")
    await until(lambda: not reports.metrics())
    assert engine.calls == 0, "nobody wants to know of KV events"
    assert failures == []


async def test_an_engine_that_was_told_to_give_no_figures_has_no_metrics(
    engine: Engine, reports: Reports
) -> None:
    engine.args.enable_iter_perf_stats = False
    reports.start(engine, None, CARD)  # type: ignore[arg-type]
    with reports.request():
        assert reports.metrics() == ""
    assert reports.metrics() == ""
