"""Prefill and decode on the double of TensorRT-LLM say together what it says alone."""

from __future__ import annotations

import base64
import json
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import openai
import pytest
from tensorrt_llm._double import STEP, next_token
from tensorrt_llm._transfer import PREFIX

from dynamo_core.handlers.card import Role
from dynamo_core.testing.engine_checks import Case, complete
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.pair_checks import LONG, IndependentDecodeChecks
from dynamo_core.testing.processes import PORTS, Running, Stack
from dynamo_core.testing.tiny_model import decode

TRANSFER_MS = 3000


class TestTrtllmPair(IndependentDecodeChecks):
    """The checks are core's; conftest.py says how to start the workers."""

    def unreachable(self, params: Any) -> Any:
        state = PREFIX + json.dumps([1, params["ctx_request_id"]]).encode()
        return params | {"opaque_state": base64.b64encode(state).decode()}


class Halves:
    """A frontend, decode and prefill workers, any number of each."""

    def __init__(self, engine: EngineUnderTest, stack: Stack) -> None:
        self.engine = engine
        self.stack = stack
        stack.frontend()

    def start(self, role: Role, count: int, *flags: object, step: str = "0.002") -> list[Running]:
        engine = replace(self.engine, env={**self.engine.env, STEP: step})
        return [engine.start_half(self.stack, role, *flags) for _ in range(count)]

    def wait_ready(self, instances: int) -> None:
        """Until all are there, and the frontend gives prompts to prefill workers; for a moment after it has
        seen both halves it sends requests to decode workers only."""
        self.stack.wait_ready()
        self.stack.wait_instances(instances)
        deadline = time.monotonic() + 20
        while not any("double: fetched" in line for worker in self.stack.running for line in worker.lines):
            assert time.monotonic() < deadline, "no request goes to a prefill worker"
            complete(self.stack, Case("short", LONG[:5], max_tokens=2))

    def busy(self, workers: list[Running], line: str) -> Running:
        """The worker that gets to a line first."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for worker in workers:
                if any(line in written for written in worker.lines):
                    return worker
            time.sleep(0.01)
        raise AssertionError(f"no {line!r}:\n" + "\n\n".join(worker.output for worker in workers))

    def kill(self, worker: Running) -> None:
        worker.process.kill()
        worker.wait()
        self.stack.running.remove(worker)

    def answer(self, while_it_runs: Callable[[], None] = lambda: None) -> str:
        """The tokens of the long prompt's answer, as text."""
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(complete, self.stack, Case("long", LONG, max_tokens=20))
            while_it_runs()
            text: str = answer.result(30).choices[0].text
        return text


@pytest.fixture
def halves(engine: EngineUnderTest, stack: Stack) -> Halves:
    return Halves(engine, stack)


@pytest.fixture(scope="module")
def expected() -> str:
    """What follows the long prompt by the double's rule."""
    tokens = list(LONG)
    while len(tokens) < len(LONG) + 20:
        tokens.append(next_token(tokens))
    return decode(tokens[len(LONG) :])


def test_a_prefill_worker_that_dies_while_its_cache_is_fetched(halves: Halves, expected: str) -> None:
    [decoding] = halves.start("decode", 1)
    [prefilling] = halves.start("prefill", 1, "--cache-transceiver-config.max_tokens_in_buffer", 1)
    halves.wait_ready(2)
    text = halves.answer(lambda: halves.kill(halves.busy([prefilling], "sending from token 50")))
    assert text == expected
    decoding.wait_for_line("computing the prompt here: the KV cache from the prefill worker is lost")


def test_a_prefill_worker_that_hangs_while_its_cache_is_fetched(halves: Halves, expected: str) -> None:
    [decoding] = halves.start("decode", 1, "--cache-transceiver-config.kv_transfer_timeout_ms", TRANSFER_MS)
    [prefilling] = halves.start("prefill", 1, "--cache-transceiver-config.max_tokens_in_buffer", 1)
    halves.wait_ready(2)

    def hang() -> None:
        halves.busy([prefilling], "sending from token 50").process.send_signal(signal.SIGSTOP)

    try:
        assert halves.answer(hang) == expected
    finally:
        prefilling.process.send_signal(signal.SIGCONT)
    decoding.wait_for_line("computing the prompt here: TensorRT-LLM gave the request up .* 'cancelled'")


@pytest.mark.parametrize("others", [0, 1])
def test_a_prefill_worker_that_dies_while_it_computes(halves: Halves, expected: str, others: int) -> None:
    """Another one takes over; without one there is an error."""
    halves.start("decode", 1)
    prefilling = halves.start("prefill", 1 + others, step="1")
    halves.wait_ready(2 + others)

    def kill() -> None:
        halves.kill(halves.busy(prefilling, f"{len(LONG)} tokens of prompt"))

    if others:
        assert halves.answer(kill) == expected
    else:
        with pytest.raises(openai.InternalServerError):
            halves.answer(kill)


def test_a_decode_worker_that_dies_while_it_answers(halves: Halves, expected: str) -> None:
    """Another one goes on where it ended."""
    decoding = halves.start("decode", 2, step="0.05")
    halves.start("prefill", 1)
    halves.wait_ready(3)

    stream = complete(halves.stack, Case("long", LONG, max_tokens=20), stream=True)
    text = "".join(next(stream).choices[0].text for _ in range(4))
    halves.kill(halves.busy(decoding, f"fetched {len(LONG)} tokens"))
    text += "".join(chunk.choices[0].text for chunk in stream if chunk.choices)
    assert text == expected


def test_a_health_probe_leaves_no_cache_behind_that_nobody_fetches(halves: Halves) -> None:
    """Sent by the worker to itself when nobody else asks."""
    [prefilling] = halves.start("prefill", 1, "--health-interval", 0.1, "--status-port", next(PORTS))
    address = prefilling.wait_for_line(r"(\S+) is ready")[1]
    prefilling.wait_for_line("double: 1 tokens of prompt")
    probe = {"token_ids": [1], "stop_conditions": {"max_tokens": 1}, "_HEALTH_CHECK": True}
    [[chunk]] = halves.stack.ask(address, probe)
    assert len(chunk["token_ids"]) == 1
    assert "disaggregated_params" not in chunk


@pytest.mark.setting("prefill_component")
def test_a_prefill_component_of_another_name(halves: Halves, expected: str) -> None:
    [decoding] = halves.start("decode", 1, "--prefill-component", "first")
    decoding.wait_for_line("needs an instance of dynamo.first.generate")
    halves.start("prefill", 1, "--component", "first")
    decoding.wait_for_line("is ready")
    halves.wait_ready(2)
    assert halves.answer() == expected


def test_a_hand_over_that_cannot_be_read(halves: Halves) -> None:
    [decoding] = halves.start("decode", 1)
    address = decoding.wait_for_line(r"(\S+) is not ready")[1]
    [answer] = halves.stack.ask(
        address, {"token_ids": LONG, "prefill_result": {"disaggregated_params": {"unknown": 1}}}
    )
    assert answer["error"][0] == "Unknown"
    assert "both need the same release of TensorRT-LLM" in answer["error"][1]
