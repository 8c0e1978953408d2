"""What a request and a worker's settings may ask of vLLM besides tokens."""

from __future__ import annotations

from dynamo_core.testing.engine_checks import START_TIMEOUT
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.pair_checks import request_for
from dynamo_core.testing.parser_checks import ParserChecks
from dynamo_core.testing.processes import Stack


class TestVllmParsers(ParserChecks):
    """The checks are core's; conftest.py says how to start vLLM."""

    by_priority = ("--scheduling-policy", "priority")


def test_a_data_parallel_rank_is_the_routers_choice(stack: Stack, engine: EngineUnderTest) -> None:
    """Each rank has a KV cache of its own, which shows where a prompt has been."""
    engine.start(stack, "--data-parallel-size", 2).wait_for_line("is ready", START_TIMEOUT)
    prompt = [10 + i % 80 for i in range(200)]
    requests = [request_for(prompt, 1, routing={"dp_rank": rank}) for rank in (1, 1, 0, 2)]
    *answers, refused = stack.ask("dynamo.vllm.generate", *requests)
    cached = [answer[-1]["completion_usage"]["prompt_tokens_details"]["cached_tokens"] for answer in answers]
    assert (cached[0], cached[1] > 0, cached[2]) == (0, True, 0)
    kind, message = refused["error"]
    assert kind == "InvalidArgument"
    assert "data_parallel_rank 2 is out of range" in message
