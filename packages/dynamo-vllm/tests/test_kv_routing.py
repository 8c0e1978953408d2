"""Two vLLM workers publish what is in their KV caches, and a frontend in kv mode makes use of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from dynamo_core.testing.engine_checks import START_TIMEOUT
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.processes import PORTS, Stack
from dynamo_core.testing.tiny_model import SPECIALS, VOCABULARY_SIZE

BLOCK = 32
PREFIX = 10 * BLOCK
KV, ROUND_ROBIN = 1, 2


@pytest.fixture(scope="module")
def frontends(
    tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path
) -> Iterator[dict[str, Stack]]:
    """The same two workers behind a frontend of each mode."""
    with Stack(tmp_path_factory.mktemp("kv"), tiny_model) as stack:
        other = Stack(stack.discovery.parent, tiny_model)
        stack.frontend("--router-mode", "kv")
        stack.start("dynamo_frontend", "--http-port", other.port)
        for _ in range(2):
            engine.start(stack, "--kv-events", "--status-port", next(PORTS))
        for frontend in (stack, other):
            frontend.wait_ready(START_TIMEOUT)
            frontend.wait_instances(4, START_TIMEOUT)  # each has a second endpoint for its KV index
        yield {"kv": stack, "round-robin": other}


def sixty_requests(stack: Stack, seed: int) -> tuple[int, int, int]:
    """Requests that share six prefixes: how many were repeats, how many of those went to the worker that
    had got their prefix first, and how many found it in the engine's cache."""
    choose = random.Random(seed)
    tokens = range(len(SPECIALS), VOCABULARY_SIZE)
    prefixes = [choose.choices(tokens, k=PREFIX) for _ in range(6)]
    holders: dict[int, object] = {}
    repeats = kept = cached = 0
    for number in range(60):
        which = number if number < 6 else choose.randrange(6)
        answer = stack.client().completions.create(
            model="tiny",
            prompt=prefixes[which] + choose.choices(tokens, k=10),
            max_tokens=2,
            extra_body={"nvext": {"extra_fields": ["worker_id"]}},
        )
        worker = answer.nvext["worker_id"]["decode_worker_id"]
        if holders.setdefault(which, worker) and number >= 6:
            repeats += 1
            kept += holders[which] == worker
            cached += answer.usage.prompt_tokens_details.cached_tokens >= PREFIX - BLOCK
    return repeats, kept, cached


def test_repeats_go_to_the_worker_that_holds_their_prefix(frontends: dict[str, Stack]) -> None:
    repeats, kept, cached = sixty_requests(frontends["kv"], KV)
    assert repeats == 54
    assert kept >= 0.9 * repeats
    assert cached >= 0.9 * repeats


def test_without_kv_routing_they_do_not(frontends: dict[str, Stack]) -> None:
    repeats, kept, _ = sixty_requests(frontends["round-robin"], ROUND_ROBIN)
    assert kept < 0.75 * repeats
