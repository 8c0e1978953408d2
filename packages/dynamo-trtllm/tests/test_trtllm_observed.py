"""What can be seen of a worker on the double of TensorRT-LLM from outside, and what its engine is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from dynamo_trtllm.metrics import at_rest, exposition
from tensorrt_llm._double import BLOCKS

from dynamo_core.testing.collector import Collector, collecting
from dynamo_core.testing.engine_checks import PROMPTS, Case, complete
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.observed_checks import Watched
from dynamo_core.testing.pair_checks import request_for
from dynamo_core.testing.processes import Stack

PROMPT = [10 + i % 80 for i in range(100)]
COMMON = ("dynamo_core_requests_waiting", "dynamo_core_requests_running", "dynamo_core_kv_cache_usage_ratio")
STEP = {
    "iter": 7,
    "numActiveRequests": 3,
    "numQueuedRequests": 2,
    "kvCacheStats": {
        "maxNumBlocks": 64,
        "freeNumBlocks": 48,
        "usedNumBlocks": 16,
        "tokensPerBlock": 32,
        "cacheHitRate": 0.75,
    },
    "inflightBatchingStats": {"numScheduledRequests": 3, "numContextRequests": 1, "numGenRequests": 2},
}
"""One step's figures, as published."""


def samples(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^(\w+) (\S+)$", text, re.MULTILINE)}


def test_a_step_as_metrics() -> None:
    assert samples(exposition(STEP)) == {
        "trtllm_num_requests_waiting": 2,
        "trtllm_num_requests_running": 3,
        "trtllm_num_scheduled_requests": 3,
        "trtllm_num_context_requests": 1,
        "trtllm_num_generation_requests": 2,
        "trtllm_kv_cache_utilization": 0.25,
        "trtllm_kv_cache_hit_rate": 0.75,
        "trtllm_kv_cache_max_blocks": 64,
        "trtllm_kv_cache_used_blocks": 16,
        "trtllm_kv_cache_free_blocks": 48,
        "trtllm_kv_cache_tokens_per_block": 32,
    }


def test_the_same_step_when_all_work_is_done() -> None:
    rest = samples(exposition(at_rest(STEP)))
    assert {name for name, value in rest.items() if value} == {
        "trtllm_kv_cache_hit_rate",
        "trtllm_kv_cache_max_blocks",
        "trtllm_kv_cache_free_blocks",
        "trtllm_kv_cache_tokens_per_block",
    }
    assert rest["trtllm_kv_cache_free_blocks"] == 64
    assert rest.keys() == samples(exposition(STEP)).keys()


@pytest.mark.parametrize(
    "stats", [{}, {"iter": 1}, {"kvCacheStats": {"maxNumBlocks": 0, "usedNumBlocks": 0}}]
)
def test_what_is_not_told_is_left_out(stats: dict[str, Any]) -> None:
    assert "None" not in exposition(stats)
    assert "utilization" not in exposition(stats)


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def watched(
    tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path, collector: Collector
) -> Iterator[Watched]:
    with Stack(tmp_path_factory.mktemp("watched"), tiny_model) as stack:
        flags = ("--health-interval", 0, "--max-batch-size", 4)
        yield Watched(stack, engine, *flags, both=collector.flags)


@pytest.mark.setting("status_port")
def test_metrics_without_kv_events(watched: Watched) -> None:
    before = watched.metrics()
    assert {name: before[name] for name in COMMON} == dict.fromkeys(COMMON, 0)
    assert before["trtllm_kv_cache_max_blocks"] == BLOCKS
    stream = complete(watched.stack, Case("long", PROMPT, max_tokens=1500), stream=True)
    next(iter(stream))
    busy = watched.wait_metrics(lambda found: found["dynamo_core_requests_running"] == 1)
    assert 0 < busy["dynamo_core_kv_cache_usage_ratio"] < 1
    assert busy["trtllm_kv_cache_utilization"] == busy["dynamo_core_kv_cache_usage_ratio"]
    stream.close()
    watched.wait_metrics(lambda found: not any(found[name] for name in COMMON))


def test_the_hit_rate_is_told_also_of_what_was_over_at_once(watched: Watched) -> None:
    for _ in range(5):
        complete(watched.stack, Case("short", PROMPT[::-1], max_tokens=2))
    watched.wait_metrics(lambda found: found["trtllm_kv_cache_hit_rate"] >= 0.4)


@pytest.mark.setting("otlp_endpoint", "otlp_protocol")
def test_the_engine_is_told_which_span_is_its_parent(watched: Watched, collector: Collector) -> None:
    """The double sends no span of its own."""
    complete(watched.stack, Case("traced", PROMPTS[0], max_tokens=2))
    found = watched.worker.wait_for_line(r"trace \{.*'traceparent': '00-(\w{32})-(\w{16})-")
    spans = collector.wait(lambda spans: any(span.id == found[2] for span in spans))
    (worker,) = [span for span in spans if span.id == found[2]]
    assert (worker.service, worker.trace) == ("dynamo.trtllm", found[1])


def test_priority_reaches_the_engine(watched: Watched) -> None:
    for priority, told in ((1, "0.75"), (-1, "0.25"), (10**6, "1"), (0, "0.5")):
        hints = {"nvext": {"agent_hints": {"priority": priority}}}
        watched.stack.client().completions.create(
            model="tiny", prompt=PROMPTS[0], max_tokens=1, extra_body=hints
        )
        watched.worker.wait_for_line(rf"double: priority {re.escape(told)}, ")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"routing": {"lora_name": "mine"}}, "the adapter mine is not loaded: this worker"),
        ({"routing": {"dp_rank": 2}}, "dp_rank 2 cannot be chosen"),
        ({"output_options": {"prompt_logprobs": 0}}, "prompt_logprobs is not supported by TensorRT-LLM"),
    ],
    ids=["adapter", "rank", "prompt logprobs"],
)
def test_what_there_is_no_way_to_ask_for_is_refused_by_name(
    watched: Watched, more: dict[str, Any], message: str
) -> None:
    (answer,) = watched.stack.ask("dynamo.trtllm.generate", request_for(PROMPTS[0], 2, **more))
    assert answer["error"][0] == "InvalidArgument"
    assert message in answer["error"][1]


def test_the_rank_that_routers_name_when_there_is_one(watched: Watched) -> None:
    (chunks,) = watched.stack.ask(
        "dynamo.trtllm.generate", request_for(PROMPTS[0], 2, routing={"dp_rank": 0})
    )
    assert chunks[-1]["finish_reason"] == "length"


def test_vectors_and_adapters_are_not_offered(watched: Watched) -> None:
    client = watched.stack.client()
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="tiny", input="abc")
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="mine", prompt="abc", max_tokens=1)
