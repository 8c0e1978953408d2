"""A router of its own between frontend and workers: what passes through it, and when it is ready."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest

from dynamo_core.testing.processes import Running, Stack

WORKERS = "workers.scripted.generate"
ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
MESSAGES: Any = [{"role": "user", "content": "hi"}]


def router(stack: Stack, *flags: object) -> Running:
    return stack.start("dynamo_frontend.router", "--workers", WORKERS, *flags)


def worker(stack: Stack, *flags: object) -> Running:
    return stack.scripted("--namespace", "workers", "--trace", *flags)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("graph"), tiny_model) as running:
        running.frontend("--namespace", "routed")
        router(running)
        for _ in range(2):
            worker(running, "--kv-events", "--token-delay", 0.02)
        running.wait_ready()
        yield running


def started(stack: Stack) -> list[int]:
    """How many requests each worker has got."""
    return [
        sum(line.startswith("start ") for line in process.lines)
        for process in stack.running
        if "dynamo_core.testing.scripted" in process.argv
    ]


def complete(stack: Stack, prompt: str, count: int) -> str:
    pieces = stack.client().completions.create(model="scripted", prompt=prompt, max_tokens=count, stream=True)
    return "".join(choice.text for piece in pieces for choice in piece.choices)


@pytest.mark.setting("workers")
def test_the_model_behind_a_router(graph: Stack) -> None:
    (model,) = graph.client().models.list().data
    assert model.id == "scripted"
    answer = graph.client().chat.completions.create(model="scripted", messages=MESSAGES, max_tokens=7)
    assert answer.usage is not None
    assert (len(answer.choices[0].message.content or ""), answer.usage.completion_tokens) == (7, 7)
    assert complete(graph, "hello", 30) == (ALPHABET * 2)[5:35]


def test_the_same_prompt_goes_where_it_is_cached(graph: Stack) -> None:
    before = started(graph)
    prompt = "A prompt of two blocks and some, which nobody has asked before"
    for _ in range(5):
        complete(graph, prompt, 1)
        time.sleep(0.3)
    assert sorted(now - then for now, then in zip(started(graph), before, strict=True)) == [0, 5]


def test_what_a_worker_refuses_is_refused(graph: Stack) -> None:
    with pytest.raises(openai.BadRequestError, match="seed must be lucky, found 13"):
        graph.client().completions.create(model="scripted", prompt="hello", seed=13)


def test_a_client_that_leaves_is_no_work_any_more(graph: Stack) -> None:
    stream = graph.client().completions.create(model="scripted", prompt="x", max_tokens=900, stream=True)
    next(iter(stream))
    stream.close()
    deadline = time.monotonic() + 5
    while not any(line.startswith("cancelled") for process in graph.running for line in process.lines):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_lost_worker_is_replaced_in_the_middle_of_a_stream(stack: Stack) -> None:
    stack.frontend("--namespace", "routed")
    router(stack)
    dying = worker(stack, "--kill-after", 20)
    stack.wait_ready()
    spare = worker(stack)
    spare.wait_for_line("is ready")
    time.sleep(1)
    with ThreadPoolExecutor(4) as pool:  # one of them goes to the one that dies, at least
        texts = list(pool.map(lambda number: complete(stack, f"{number} hello", 40), range(4)))
    assert texts == [(ALPHABET * 2)[7:47]] * 4
    assert dying.wait() != 0
    stack.running.remove(dying)


def test_a_choice_that_has_left_is_chosen_anew(stack: Stack) -> None:
    stack.frontend("--namespace", "routed")
    worker(stack, "--kv-events")
    script = str(Path(__file__).parent / "components" / "stubborn_router.py")
    flags = ["--workers", WORKERS, "--discovery-path", str(stack.discovery)]
    stubborn = Running([sys.executable, script, *flags])
    stack.running.append(stubborn)
    stack.wait_ready()
    prompt = "A prompt that has two blocks and some"
    assert complete(stack, prompt, 3) == "123"
    time.sleep(0.5)
    assert complete(stack, prompt, 3) == "123"
    told = [line for line in stubborn.lines if line.startswith("candidates")]
    assert told == ["candidates 1 0", "candidates 1 0", "candidates 1 32"]


def test_it_is_ready_while_there_are_workers(stack: Stack) -> None:
    stack.frontend("--namespace", "routed")
    process = router(stack)
    process.wait_for_line(f"routed.router.generate is not ready: it needs an instance of {WORKERS}")
    assert not stack.healthy()
    first = worker(stack)
    stack.wait_ready()
    assert complete(stack, "hello", 2) == "56"
    assert first.stop() == 0
    stack.running.remove(first)
    stack.wait_ready(healthy=False)
    worker(stack)
    stack.wait_ready()
    assert complete(stack, "hello", 2) == "56"
    assert process.stop() == 0
    assert "Traceback" not in process.output
    stack.running.remove(process)
    stack.wait_ready(healthy=False)


def test_streams_in_flight_end_when_it_is_stopped(stack: Stack) -> None:
    stack.frontend("--namespace", "routed")
    process = router(stack)
    worker(stack, "--token-delay", 0.05)
    stack.wait_ready()
    first, answer = threading.Event(), []

    def ask() -> None:
        for piece in stack.client().completions.create(
            model="scripted", prompt="hello", max_tokens=40, stream=True
        ):
            first.set()
            answer.extend(choice.text for choice in piece.choices)

    asking = threading.Thread(target=ask)
    asking.start()
    assert first.wait(10)
    assert process.stop() == 0
    asking.join()
    stack.running.remove(process)
    assert "".join(answer) == (ALPHABET * 2)[5:45]


@pytest.mark.parametrize(
    ("flags", "problem", "fix"),
    [
        (
            ("--workers", "a.b"),
            "workers: expected NAMESPACE.COMPONENT.ENDPOINT; found 'a.b' (from --workers)",
            "",
        ),
        (
            ("--workers", "routed.vllm.generate"),
            "--workers routed.vllm.generate are in the router's own namespace, where frontends find them as "
            "well, and pass the router by (from --workers)",
            "give the workers another --namespace",
        ),
        (
            ("--workers", "workers.vllm.generate", "--namespace", "dynamo"),
            "--namespace dynamo is the one whose frontends find the workers as well, and pass the router by "
            "(from --namespace)",
            "give router and frontend another one",
        ),
        (
            ("--workers", "workers.vllm.generate", "--router-ttl", "9"),
            "--router-ttl 9 counts only where caches are guessed, and workers tell theirs "
            "(from --router-ttl)",
            "leave it out, or add --no-router-kv-events",
        ),
    ],
)
def test_what_cannot_work(flags: tuple[str, ...], problem: str, fix: str) -> None:
    command = [str(Path(sys.executable).with_name("dynamo-router")), *flags]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 2
    lines = [line for line in result.stderr.splitlines() if " INFO " not in line]
    assert lines == [f"dynamo-router: error: {problem}", *([f"  fix: {fix}"] if fix else [])]
