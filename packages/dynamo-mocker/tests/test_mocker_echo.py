"""The echo worker, behind the real frontend."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import openai
import pytest

from dynamo_core.testing.processes import Running, Stack
from dynamo_core.testing.tiny_model import SPECIALS

MESSAGES: Any = [{"role": "user", "content": "Hello, world."}]


def echo(stack: Stack, *flags: object) -> Running:
    return stack.start("dynamo_mocker.echo", "--model", stack.model, "--served-model-name", "echo", *flags)


@pytest.fixture
def client(stack: Stack) -> openai.OpenAI:
    stack.frontend()
    echo(stack)
    stack.wait_ready()
    return stack.client()


def test_a_chat_is_answered_with_itself(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="echo", messages=MESSAGES)
    assert answer.choices[0].message.content == "Hello, world."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == answer.usage.completion_tokens == 17  # with special tokens


@pytest.mark.parametrize(
    ("max_tokens", "text", "reason"),
    [(1, "H", "length"), (4, "Hell", "length"), (5, "Hello", "stop"), (6, "Hello", "stop")],
)
def test_max_tokens(client: openai.OpenAI, max_tokens: int, text: str, reason: str) -> None:
    answer = client.completions.create(model="echo", prompt="Hello", max_tokens=max_tokens)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (text, reason)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (5, len(text))


def test_a_stop_string_is_cut_by_the_frontend(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="echo", prompt="Hello, world.", stop=", ", max_tokens=50)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("Hello", "stop")


def test_end_tokens_within_the_prompt_do_not_end_the_answer(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="echo", prompt=f"a{SPECIALS[2]}b", max_tokens=50)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("ab", "stop")
    only = client.completions.create(model="echo", prompt=SPECIALS[2], max_tokens=50)
    assert (only.choices[0].text, only.choices[0].finish_reason) == ("", "stop")


@pytest.mark.setting("token_delay")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_tokens_come_one_by_one(stack: Stack, number: signal.Signals) -> None:
    stack.frontend()
    worker = echo(stack, "--token-delay", 0.1)
    stack.wait_ready()
    pieces, started = [], time.monotonic()
    for chunk in stack.client().completions.create(model="echo", prompt="Hello", stream=True, max_tokens=9):
        pieces += [choice.text for choice in chunk.choices if choice.text]
    assert pieces == list("Hello")
    assert time.monotonic() - started > 0.5
    assert worker.stop(number) == 0
    assert "Traceback" not in worker.output
    stack.running.remove(worker)
    stack.wait_ready(healthy=False)


def test_a_client_that_leaves_is_no_work_any_more(stack: Stack) -> None:
    """Otherwise the worker would go on for four seconds, and drain that long."""
    stack.frontend()
    worker = echo(stack, "--token-delay", 0.1)
    stack.wait_ready()
    stream = stack.client().completions.create(model="echo", prompt="x" * 40, max_tokens=40, stream=True)
    next(iter(stream))
    stream.close()
    time.sleep(0.5)
    started = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - started < 1.5
    stack.running.remove(worker)


def test_it_needs_a_tokenizer_and_little_else(stack: Stack, tmp_path: Path) -> None:
    """The frontend wants a word or two about the model."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((stack.model / name).read_bytes())
    (folder / "config.json").write_text(json.dumps({"architectures": ["Echo"], "model_type": "echo"}))
    stack.frontend()
    stack.start("dynamo_mocker.echo", "--model", folder)
    stack.wait_ready()
    answer = stack.client().completions.create(model=str(folder), prompt="Hello", max_tokens=9)
    assert answer.choices[0].text == "Hello"


def test_the_console_script_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("dynamo-echo-worker")
    result = subprocess.run([str(script)], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert (
        result.stderr == "dynamo-echo-worker: error: --model is required: give the flag, or set DYN_MODEL\n"
    )
