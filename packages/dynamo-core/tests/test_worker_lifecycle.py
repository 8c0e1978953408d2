"""BaseWorker's guarantees, on the scripted engine behind the real runtime and frontend."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import openai
import pytest

from dynamo_core.testing.processes import Stack
from dynamo_core.testing.scripted import ALPHABET
from dynamo_core.testing.tiny_model import decode

MESSAGES = [{"role": "user", "content": "hi"}]


def expected(first: str, count: int) -> str:
    """What the scripted engine says from `first` on."""
    letters = decode(ALPHABET)
    start = letters.index(first)
    return "".join(letters[(start + i) % len(letters)] for i in range(count))


def ask(stack: Stack, count: int) -> str:
    answer = stack.client().chat.completions.create(model="scripted", messages=MESSAGES, max_tokens=count)
    return answer.choices[0].message.content or ""


def stream(stack: Stack, count: int, first: threading.Event | None = None) -> tuple[str, str | None]:
    text, reason = "", None
    for chunk in stack.client().chat.completions.create(
        model="scripted", messages=MESSAGES, max_tokens=count, stream=True
    ):
        if first is not None:
            first.set()
        if chunk.choices:
            text += chunk.choices[0].delta.content or ""
            reason = chunk.choices[0].finish_reason or reason
    return text, reason


@pytest.mark.setting("model", "served_model_name")
@pytest.mark.parametrize("streaming", [False, True])
def test_an_answer_is_what_the_engine_said(stack: Stack, streaming: bool) -> None:
    stack.frontend()
    stack.scripted()
    stack.wait_ready()
    text = stream(stack, 40)[0] if streaming else ask(stack, 40)
    assert text == expected(text[0], 40)


def test_usage_and_finish_reason(stack: Stack) -> None:
    stack.frontend()
    stack.scripted()
    stack.wait_ready()
    answer = stack.client().chat.completions.create(model="scripted", messages=MESSAGES, max_tokens=5)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


@pytest.mark.setting("chunk_window_ms", "chunk_tokens")
def test_fewer_chunks_say_the_same(stack: Stack) -> None:
    stack.frontend()
    stack.scripted("--token-delay", 0.002, "--chunk-window-ms", 10_000, "--chunk-tokens", 20)
    stack.wait_ready()
    answer = stack.client().chat.completions.create(
        model="scripted", messages=MESSAGES, max_tokens=101, stream=True
    )
    texts = [text for chunk in answer if chunk.choices and (text := chunk.choices[0].delta.content)]
    text = "".join(texts)
    assert text == expected(text[0], 101)
    assert len(texts) <= 6


def test_tokens_that_end_a_wait_need_one(stack: Stack) -> None:
    worker = stack.scripted("--chunk-tokens", 20)
    assert worker.wait() == 2
    assert worker.lines[-2:] == [
        "error: chunk-tokens is 20, but chunks do not wait for more tokens, since chunk-window-ms is 0",
        "  fix: give --chunk-window-ms, or leave --chunk-tokens out",
    ]
    stack.running.remove(worker)


@pytest.mark.setting("trace")
def test_a_client_that_leaves_is_seen_by_the_engine_within_200_ms(stack: Stack) -> None:
    stack.frontend()
    worker = stack.scripted("--token-delay", 0.02, "--trace")
    stack.wait_ready()
    answer = stack.client().chat.completions.create(
        model="scripted", messages=MESSAGES, max_tokens=1500, stream=True
    )
    next(iter(answer))
    left = time.monotonic()
    answer.close()
    worker.wait_for_line("^cancelled", timeout=5)
    assert time.monotonic() - left < 0.2


def test_a_bad_request_is_a_400_with_the_engines_words(stack: Stack) -> None:
    stack.frontend()
    worker = stack.scripted()
    stack.wait_ready()
    with pytest.raises(openai.BadRequestError, match="must be lucky"):
        stack.client().chat.completions.create(model="scripted", messages=MESSAGES, max_tokens=5, seed=13)
    assert ask(stack, 3)
    assert worker.process.poll() is None


@pytest.mark.setting("token_delay")
def test_sigterm_lets_20_streams_end_by_themselves(stack: Stack) -> None:
    """P11 (ai-dynamo #13559)."""
    stack.frontend()
    worker = stack.scripted("--token-delay", 0.02)
    stack.wait_ready()
    started = [threading.Event() for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(stream, stack, 60, event) for event in started]
        for event in started:
            assert event.wait(10)
        worker.process.send_signal(signal.SIGTERM)
        results = [future.result() for future in futures]
    assert all(reason == "length" and len(text) == 60 for text, reason in results)
    assert worker.wait() == 0


@pytest.mark.setting("drain_timeout")
def test_the_drain_budget_ends_what_does_not_end_by_itself(stack: Stack) -> None:
    stack.frontend("--migration-limit", 0)
    worker = stack.scripted("--token-delay", 0.02, "--drain-timeout", 0.3)
    stack.wait_ready()
    first = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(stream, stack, 1500, first)
        assert first.wait(10)
        began = time.monotonic()
        assert worker.stop() == 0
        assert time.monotonic() - began < 3
        with pytest.raises(openai.APIError):
            future.result()


@pytest.mark.setting("die_after")
def test_an_engine_that_dies_leaves_its_first_error_as_the_last_line(stack: Stack) -> None:
    """P12 (ai-dynamo #1773, #3278)."""
    stack.frontend()
    worker = stack.scripted("--die-after", 5)
    stack.wait_ready()
    with pytest.raises(openai.APIError):
        stream(stack, 20)
    assert worker.wait() == 1
    assert worker.lines[-1] == "error: ScriptedError: told to die"
    stack.wait_ready(healthy=False, timeout=5)


@pytest.mark.setting("kill_after")
@pytest.mark.parametrize("death", ["--die-after", "--kill-after"])
def test_with_a_second_worker_the_stream_goes_on_without_gap_or_repeat(stack: Stack, death: str) -> None:
    stack.frontend()
    dying = stack.scripted("--token-delay", 0.005, death, 10)
    stack.wait_ready()
    stack.scripted("--token-delay", 0.005)
    stack.wait_instances(2)
    with ThreadPoolExecutor(4) as pool:
        while dying.process.poll() is None:
            for text, reason in pool.map(lambda _: stream(stack, 60), range(4)):
                assert (text, reason) == (expected(text[0], 60), "length")
    assert dying.wait() == (1 if death == "--die-after" else -signal.SIGKILL)


@pytest.mark.parametrize("part", range(5))
def test_ready_means_answered(stack: Stack, part: int) -> None:
    """P08 (ai-dynamo #11855): 50 times from cold, the first request after `/health` says yes succeeds."""
    stack.frontend()
    for _ in range(10):
        worker = stack.scripted()
        stack.wait_ready()
        assert len(ask(stack, 3)) == 3
        assert worker.stop() == 0
        stack.running.remove(worker)
        stack.wait_ready(healthy=False)


@pytest.mark.setting("start_delay")
def test_a_start_can_be_interrupted(stack: Stack) -> None:
    worker = stack.scripted("--start-delay", 600)
    worker.wait_for_line("will be found")
    assert worker.stop(timeout=5) == 0


@pytest.mark.setting("fail_start")
def test_a_start_that_fails_says_why_and_leaves_nothing(stack: Stack) -> None:
    worker = stack.scripted("--fail-start", "no such weights")
    assert worker.wait() == 2
    assert worker.lines[-1] == "error: no such weights"
    assert not [path for path in Path(stack.discovery).rglob("*") if path.is_file()]
