"""Tool calls and reasoning leave the text where a worker names their parsers, and only there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dynamo_core.testing.processes import Stack

TEXT = '<think>which city</think><tool_call>{"name": "weather", "arguments": {"city": "Rome"}}</tool_call>'
TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]
MESSAGES: Any = [{"role": "user", "content": "hi"}]


def start(stack: Stack, *flags: object) -> None:
    stack.frontend()
    stack.scripted("--say", TEXT, *flags)
    stack.wait_ready()


def ask(stack: Stack, **more: Any) -> Any:
    return stack.client().chat.completions.create(model="scripted", messages=MESSAGES, tools=TOOLS, **more)


@pytest.mark.setting("tool_call_parser", "reasoning_parser")
def test_named_parsers_take_them_out_of_the_text(stack: Stack) -> None:
    start(stack, "--tool-call-parser", "hermes", "--reasoning-parser", "qwen3")
    choice = ask(stack).choices[0]
    (call,) = choice.message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Rome"})
    assert choice.finish_reason == "tool_calls"
    assert choice.message.reasoning_content == "which city"
    assert not choice.message.content

    deltas = [chunk.choices[0].delta for chunk in ask(stack, stream=True) if chunk.choices]
    calls = [part.function for delta in deltas for part in delta.tool_calls or ()]
    assert "".join(part.name or "" for part in calls) == "weather"
    assert json.loads("".join(part.arguments or "" for part in calls)) == {"city": "Rome"}
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == "which city"


@pytest.mark.setting("say")
def test_without_them_they_stay_there(stack: Stack) -> None:
    start(stack)
    message = ask(stack).choices[0].message
    assert message.content == TEXT
    assert not message.tool_calls


def test_an_unknown_parser_is_an_error_before_the_engine_starts(stack: Stack) -> None:
    flags = ("--tool-call-parser", "herms", "--reasoning-parser", "qwen", "--start-delay", 60)
    worker = stack.scripted(*flags)
    assert worker.wait() == 2
    assert "tool-call-parser: the Rust runtime has no parser 'herms'; did you mean hermes" in worker.output
    assert "reasoning-parser: the Rust runtime has no parser 'qwen'; did you mean qwen3" in worker.output
    assert "fix: give one of" in worker.output
