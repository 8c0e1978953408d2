"""What a request and a worker's settings may ask of SGLang besides tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dynamo_core.testing.engine_checks import PROMPTS, START_TIMEOUT
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.pair_checks import request_for, tokens_of
from dynamo_core.testing.parser_checks import ParserChecks
from dynamo_core.testing.processes import Stack
from dynamo_core.testing.tiny_model import decode
from dynamo_sglang.base import unused_id

COLOUR = {"temperature": 0.0, "guided_decoding": {"regex": "(red|green)"}}


class TestSglangParsers(ParserChecks):
    """The checks are core's; conftest.py says how to start SGLang."""

    by_priority = ("--enable-priority-scheduling",)


@pytest.mark.parametrize("known", ["r", "r_0", "r-0"])
def test_a_request_that_is_sent_again_gets_an_id_that_sglang_does_not_know(known: str) -> None:
    assert unused_id("r", {"other", "r_1x"}) == "r"
    first, second = unused_id("r", {known}), unused_id("r", {known})
    assert first.startswith("r.")
    assert len({first, second, "r"}) == 3


@pytest.fixture(scope="module")
def thinking(
    tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path
) -> Iterator[Stack]:
    """Its reasoning parser is one that SGLang has under another name."""
    with Stack(tmp_path_factory.mktemp("thinking"), tiny_model) as stack:
        worker = engine.start(stack, "--reasoning-parser", "minimax_append_think")
        worker.wait_for_line("is ready", START_TIMEOUT)
        yield stack


def test_guided_decoding_leaves_the_reasoning_free(thinking: Stack) -> None:
    """This model never comes to the end of it."""
    guided = {"sampling_options": COLOUR, "stop_conditions": {"max_tokens": 30}}
    asked: list[dict[str, Any]] = [{}, guided, guided | {"require_reasoning": True}]
    requests = [request_for(PROMPTS[0], 30) | more for more in asked]
    answers = thinking.ask("dynamo.sglang.generate", *requests)
    free, constrained, reasoning = (decode(tokens_of(answer)) for answer in answers)
    assert constrained in ("red", "green")
    assert reasoning == free
