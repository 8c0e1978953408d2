"""What a request and a worker's settings may ask of vLLM besides tokens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dynamo_core.testing.engine_checks import PROMPTS, START_TIMEOUT
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.pair_checks import request_for
from dynamo_core.testing.processes import Stack

TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALL = r'<tool_call>\{"name": "weather", "arguments": \{"city": "(Rome|Oslo)"\}\}</tool_call>'


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path
) -> Iterator[Stack]:
    """One request at a time, by priority; the reasoning parser is one that vLLM has none for."""
    with Stack(tmp_path_factory.mktemp("requests"), tiny_model) as stack:
        stack.frontend()
        parsers = ("--tool-call-parser", "hermes", "--reasoning-parser", "basic")
        worker = engine.start(stack, "--scheduling-policy", "priority", *parsers)
        stack.wait_ready(START_TIMEOUT)
        assert "vLLM has no reasoning parser basic" in worker.output
        yield stack


def test_a_tool_call_is_taken_out_of_the_text(served: Stack) -> None:
    answer = served.client().chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "hi"}],
        tools=TOOLS,
        extra_body={"guided_regex": CALL},
    )
    (call,) = answer.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert call.function.name == "weather"
    assert json.loads(call.function.arguments)["city"] in ("Rome", "Oslo")
    assert answer.choices[0].finish_reason == "tool_calls"


def test_the_request_of_higher_priority_goes_first(served: Stack) -> None:
    ended: list[int] = []

    def ask(priority: int, max_tokens: int) -> None:
        served.client().completions.create(
            model="tiny",
            prompt=PROMPTS[0],
            max_tokens=max_tokens,
            extra_body={"ignore_eos": True, "nvext": {"agent_hints": {"priority": priority}}},
        )
        ended.append(priority)

    threads = [threading.Thread(target=ask, args=arguments) for arguments in ((9, 1000), (1, 50), (5, 50))]
    for thread in threads:  # the first keeps the engine busy until the others wait
        thread.start()
        time.sleep(0.3)
    for thread in threads:
        thread.join(60)
    assert ended == [9, 5, 1]


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
