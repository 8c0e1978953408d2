"""The simulated engine in two halves."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import openai
import pytest

from dynamo_core.ports import free_ports
from dynamo_core.testing.collector import collecting
from dynamo_core.testing.processes import Running, Stack

MESSAGES: Any = [{"role": "user", "content": "hi"}]
PORTS = free_ports()


def half(stack: Stack, role: str, *flags: object) -> Running:
    return stack.start(f"dynamo_mocker.{role}", "--model", stack.model, "--served-model-name", "mock", *flags)


def workers_of(stack: Stack, prompt: str, headers: dict[str, str] | None = None) -> tuple[int, int]:
    """Who has computed a prompt, and who has answered it."""
    answer = stack.client().completions.create(
        model="mock",
        prompt=prompt,
        max_tokens=5,
        extra_headers=headers,
        extra_body={"nvext": {"extra_fields": ["worker_id"]}},
    )
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.model_extra is not None
    found = answer.model_extra["nvext"]["worker_id"]
    return found["prefill_worker_id"], found["decode_worker_id"]


@pytest.mark.parametrize("mode", ["round-robin", "kv"])
def test_one_computes_and_the_other_answers(stack: Stack, mode: str) -> None:
    stack.frontend("--router-mode", mode)
    half(stack, "decode")
    prefill = half(stack, "prefill")
    stack.wait_ready()
    computed, answered = workers_of(stack, "A prompt of some length")
    assert computed != answered
    answer = stack.client().chat.completions.create(model="mock", messages=MESSAGES, max_tokens=7)
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 7
    assert prefill.stop() == 0
    stack.running.remove(prefill)
    stack.wait_ready(healthy=False)
    with pytest.raises(openai.APIStatusError) as refused:
        workers_of(stack, "A prompt of some length")
    assert refused.value.status_code >= 500


@pytest.mark.setting("otlp_endpoint", "otlp_protocol")
def test_one_trace_for_all_that_a_request_passes(stack: Stack) -> None:
    """It is the client's, if that has one."""
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    with collecting() as collector:
        stack.frontend(*collector.flags)
        half(stack, "decode", *collector.flags)
        half(stack, "prefill", *collector.flags)
        stack.wait_ready()
        workers_of(stack, "A prompt of some length", {"traceparent": f"00-{trace}-{parent}-01"})
        spans = collector.wait(
            lambda spans: len({span.service for span in spans if span.trace == trace}) == 3
        )
    spans = [span for span in spans if span.trace == trace]
    (first,) = [span for span in spans if span.parent == parent]
    asked = {span.id for span in spans if span.parent == first.id}
    assert first.service == "dynamo.frontend"
    assert {span.service for span in spans if span.parent in asked} == {
        "dynamo.mocker-prefill",
        "dynamo.mocker-decode",
    }


def test_prompts_go_to_the_prefill_worker_that_knows_them(stack: Stack) -> None:
    stack.frontend("--router-mode", "kv")
    half(stack, "decode")
    for _ in range(2):
        half(stack, "prefill", "--speedup-ratio", 20)
    stack.wait_ready()
    time.sleep(1)
    for prompt in ("a" * 200, "b" * 200, "c" * 200):
        seen = set()
        for _ in range(4):
            seen.add(workers_of(stack, prompt)[0])
            time.sleep(0.2)
        assert len(seen) == 1
    (other,) = {workers_of(stack, letter * 300)[0] for letter in "defghijklm"} - seen
    chosen = {"x-dynamo-prefill-instance-id": str(other)}
    assert {workers_of(stack, "c" * 200, chosen)[0] for _ in range(3)} == {other}


@pytest.mark.setting("prefill_component")
def test_decode_is_not_ready_without_prefill(stack: Stack) -> None:
    """P10 (ai-dynamo #10027)."""
    port = next(PORTS)
    decode = half(stack, "decode", "--status-port", port, "--prefill-component", "theirs")
    decode.wait_for_line(
        "dynamo.mocker-decode.generate is not ready: it needs an instance of dynamo.theirs.generate"
    )
    assert status(port) == 503
    half(stack, "prefill", "--component", "theirs")
    deadline = time.monotonic() + 20
    while status(port) != 200:
        assert time.monotonic() < deadline, decode.output
        time.sleep(0.05)
    assert decode.stop() == 0
    stack.running.remove(decode)


def status(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as response:
            json.load(response)
            return int(response.status)
    except urllib.error.HTTPError as error:
        return error.code
    except urllib.error.URLError:
        return 0
