"""Routing among many simulated engines."""

from __future__ import annotations

import json
import random
import string
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dynamo_core.testing.processes import Stack

WORKERS = 16
REQUESTS, PREFIXES = 1000, 100
PREFIX, QUESTION = 1024, 16
"""Tokens; the tiny model has one per letter."""
CONCURRENCY = 3
BLOCK_SIZE = 16


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("graph"), tiny_model) as stack:
        for _ in range(WORKERS):
            mocker(stack, "--speedup-ratio", 100, "--log-level", "error")
        yield stack


def mocker(stack: Stack, *flags: object) -> None:
    stack.start("dynamo_mocker.worker", "--model", stack.model, "--served-model-name", "mock", *flags)


def wait_workers(stack: Stack, count: int) -> None:
    """Wait until the frontend knows this many workers."""
    deadline = time.monotonic() + 60
    while True:
        with urllib.request.urlopen(f"{stack.url}/health/runtime", timeout=5) as response:
            instances = json.load(response)["instances"]
        if sum(instance["endpoint"] == "generate" for instance in instances) == count:
            return
        assert time.monotonic() < deadline
        time.sleep(0.05)


def letters(count: int) -> str:
    return "".join(random.choices(string.ascii_lowercase, k=count))


def hit_rates(stack: Stack) -> tuple[float, float]:
    """Of all repeats of a prefix, the part that a worker got that had answered it before, and the part
    whose prefix that worker found in its cache."""
    client = stack.client()

    def ask(prefix: str) -> tuple[str, int, int]:
        answer = client.completions.create(
            model="mock",
            prompt=prefix + letters(QUESTION),
            max_tokens=2,
            extra_body={"nvext": {"extra_fields": ["worker_id"]}},
        )
        assert answer.model_extra is not None
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        worker = answer.model_extra["nvext"]["worker_id"]["decode_worker_id"]
        return prefix, worker, answer.usage.prompt_tokens_details.cached_tokens or 0

    prefixes = [letters(PREFIX) for _ in range(PREFIXES)]
    repeats = random.choices(prefixes, k=REQUESTS - PREFIXES)
    with ThreadPoolExecutor(CONCURRENCY) as pool:
        holders = {prefix: {worker} for prefix, worker, _ in pool.map(ask, prefixes)}
        answers = list(pool.map(ask, repeats))
    held = cached = 0
    for prefix, worker, tokens in answers:
        held += worker in holders[prefix]
        cached += tokens >= PREFIX - BLOCK_SIZE
        holders[prefix].add(worker)
    return held / len(repeats), cached / len(repeats)


@pytest.mark.parametrize("mode", ["kv", "round-robin"])
def test_a_thousand_requests_that_share_prefixes(graph: Stack, tmp_path: Path, mode: str) -> None:
    with Stack(tmp_path, graph.model) as own:
        own.discovery = graph.discovery
        own.frontend("--router-mode", mode, "--log-level", "error")
        own.wait_ready(60)
        wait_workers(own, WORKERS)
        held, cached = hit_rates(own)
    if mode == "kv":
        assert min(held, cached) >= 0.9
    else:
        assert max(held, cached) < 0.5


@pytest.mark.setting("router_queue_threshold")
def test_who_waits_in_the_frontend_can_be_overtaken(stack: Stack) -> None:
    """In the order of priority; without the queue a worker takes them in the order of arrival."""
    stack.frontend("--router-mode", "kv", "--router-queue-threshold", 0)
    mocker(stack, "--speedup-ratio", 0.05)
    stack.wait_ready()
    first, ended = 9, list[int]()

    def ask(priority: int) -> None:
        stack.client().completions.create(
            model="mock",
            prompt=letters(1500 if priority == first else 200),
            max_tokens=1,
            extra_body={"nvext": {"agent_hints": {"strict_priority": priority}}},
        )
        ended.append(priority)

    with ThreadPoolExecutor(4) as pool:
        for priority in (first, 0, 1, 2):
            pool.submit(ask, priority)
            time.sleep(0.15)
    assert ended == [first, 2, 1, 0]


def test_a_mocker_that_publishes_nothing_is_named(stack: Stack) -> None:
    """P07 (ai-dynamo #11473, #12095): one of two, and the frontend says which."""
    frontend = stack.frontend("--router-mode", "kv")
    mocker(stack)
    mocker(stack, "--no-kv-events", "--component", "silent")
    stack.wait_ready()
    said = frontend.wait_for_line(r"WARNING dynamo_frontend.routing_watch: (.*)")[1]
    assert said.startswith(
        "router-mode kv knows nothing of the KV caches of dynamo.silent.generate (instance "
    )
