"""The checks of what a request and a worker's settings may ask of an engine besides tokens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_core.testing.engine_checks import PROMPTS, START_TIMEOUT
from dynamo_core.testing.processes import Stack

if TYPE_CHECKING:
    from dynamo_core.testing.engines import EngineUnderTest

TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
CALL = r'<tool_call>\{"name": "weather", "arguments": \{"city": "(Rome|Oslo)"\}\}</tool_call>'
PARSERS = ("--tool-call-parser", "hermes", "--reasoning-parser", "basic")
"""The second one is known to the frontend alone."""


class ParserChecks:
    """Subclass it as `class TestMyParsers(ParserChecks)` beside the fixture `engine`, which runs one request
    at a time."""

    by_priority: tuple[str, ...]
    """Flags that make the engine take requests by their priority."""

    @pytest.fixture(scope="class")
    def served(
        self, tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path
    ) -> Iterator[Stack]:
        with Stack(tmp_path_factory.mktemp("parsers"), tiny_model) as stack:
            stack.frontend()
            worker = engine.start(stack, *PARSERS, *self.by_priority)
            stack.wait_ready(START_TIMEOUT)
            assert "has no reasoning parser basic" in worker.output
            yield stack

    def test_a_tool_call_is_taken_out_of_the_text(self, served: Stack) -> None:
        answer: Any = served.client().chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "hi"}],
            tools=TOOLS,
            extra_body={"guided_regex": CALL},
        )
        (call,) = answer.choices[0].message.tool_calls
        assert call.type == "function"
        assert call.function.name == "weather"
        assert json.loads(call.function.arguments)["city"] in ("Rome", "Oslo")
        assert answer.choices[0].finish_reason == "tool_calls"

    def test_the_request_of_higher_priority_goes_first(self, served: Stack) -> None:
        ended: list[int] = []

        def ask(priority: int, max_tokens: int) -> None:
            served.client().completions.create(
                model="tiny",
                prompt=PROMPTS[0],
                max_tokens=max_tokens,
                extra_body={"ignore_eos": True, "nvext": {"agent_hints": {"priority": priority}}},
            )
            ended.append(priority)

        asked = ((9, 1000), (1, 50), (5, 50))
        threads = [threading.Thread(target=ask, args=arguments) for arguments in asked]
        for thread in threads:  # the first keeps the engine busy until the others wait
            thread.start()
            time.sleep(0.3)
        for thread in threads:
            thread.join(60)
        assert ended == [9, 5, 1]
