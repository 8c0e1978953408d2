"""Two workers on the double tell what is in their KV caches, and a frontend in kv mode makes use of it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.processes import PORTS, Running, Stack
from dynamo_core.testing.tiny_model import SPECIALS, VOCABULARY_SIZE

BLOCK = 16
PREFIX = 8 * BLOCK
KV, ROUND_ROBIN = 1, 2


@pytest.fixture(scope="module")
def workers() -> list[Running]:
    return []


@pytest.fixture(scope="module")
def frontends(
    tmp_path_factory: pytest.TempPathFactory,
    engine: EngineUnderTest,
    tiny_model: Path,
    workers: list[Running],
) -> Iterator[dict[str, Stack]]:
    """The same two workers behind a frontend of each mode."""
    with Stack(tmp_path_factory.mktemp("kv"), tiny_model) as stack:
        other = Stack(stack.discovery.parent, tiny_model)
        stack.frontend("--router-mode", "kv")
        stack.start("dynamo_frontend", "--http-port", other.port)
        config = f"{{tokens_per_block: {BLOCK}}}"  # and the derived buffer for events
        for _ in range(2):
            flags = ("--kv-events", "--kv-cache-config", config, "--status-port", next(PORTS))
            workers.append(engine.start(stack, *flags))
        for frontend in (stack, other):
            frontend.wait_ready()
            frontend.wait_instances(4)  # each has a second endpoint for its KV index
        yield {"kv": stack, "round-robin": other}


def forty_requests(stack: Stack, seed: int) -> tuple[int, int]:
    """Requests that share four prefixes: how many were repeats, and how many of those went to the worker
    that had got their prefix first."""
    choose = random.Random(seed)
    tokens = range(len(SPECIALS), VOCABULARY_SIZE)
    prefixes = [choose.choices(tokens, k=PREFIX) for _ in range(4)]
    holders: dict[int, Any] = {}
    kept = 0
    for number in range(40):
        which = number if number < 4 else choose.randrange(4)
        answer: Any = stack.client().completions.create(
            model="tiny",
            prompt=prefixes[which] + choose.choices(tokens, k=5),
            max_tokens=2,
            extra_body={"nvext": {"extra_fields": ["worker_id"]}},
        )
        worker = answer.nvext["worker_id"]["decode_worker_id"]
        kept += number >= 4 and holders.get(which) == worker
        holders.setdefault(which, worker)
    return 36, kept


def reused(workers: list[Running]) -> list[int]:
    """How much of each prompt the double had in its cache."""
    pattern = re.compile(r"tokens of prompt, (\d+) of them reused")
    return [int(found[1]) for worker in workers for line in worker.lines if (found := pattern.search(line))]


def test_repeats_go_to_the_worker_that_holds_their_prefix(
    frontends: dict[str, Stack], workers: list[Running]
) -> None:
    repeats, kept = forty_requests(frontends["kv"], KV)
    assert kept >= 0.9 * repeats
    assert sum(tokens >= PREFIX for tokens in reused(workers)) >= 0.9 * repeats


def test_without_kv_routing_they_do_not(frontends: dict[str, Stack]) -> None:
    repeats, kept = forty_requests(frontends["round-robin"], ROUND_ROBIN)
    assert kept < 0.75 * repeats


@pytest.mark.setting("router_mode", "kv_events")
@pytest.mark.parametrize(
    ("flags", "published"),
    [
        ((), False),
        (("--router-mode", "kv"), True),
        (("--kv-events",), True),
        (("--kv-cache-config.event_buffer_max_size", "7"), True),
        (("--kv-cache-config", "{enable_block_reuse: false, event_buffer_max_size: 7}"), False),
    ],
)
def test_the_card_says_what_the_engine_does(
    engine: EngineUnderTest, stack: Stack, flags: tuple[str, ...], published: bool
) -> None:
    engine.start(stack, *flags).wait_for_line("is ready")
    found = "".join(path.read_text() for path in stack.discovery.rglob("*") if path.is_file())
    assert f'"kv_event_publishing_enabled":{str(published).lower()}' in found


def test_what_turns_kv_events_off_contradicts_what_needs_them(engine: EngineUnderTest, stack: Stack) -> None:
    """P07 (ai-dynamo #12095)."""
    worker = engine.start(stack, "--router-mode", "kv", "--kv-cache-config.enable_block_reuse", "false")
    assert worker.wait() == 2
    assert "error: router-mode kv needs KV events, and kv-cache-config turns them off" in worker.output
