"""What a client gets when a worker fails: two workers behind one frontend."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openai
import psutil
import pytest

from dynamo_core.testing.conformance.conftest import Same
from dynamo_core.testing.engine_checks import PROMPTS, START_TIMEOUT, Case, assert_gone, complete
from dynamo_core.testing.engines import EngineUnderTest
from dynamo_core.testing.processes import Running, Stack
from dynamo_core.testing.tiny_model import SPECIALS, VOCABULARY_SIZE

EVENTS_TIMEOUT = 10.0
"""Seconds in which events have reached the frontend; the same worker twelve times is chance in 1 of 4,096."""
LONG = Case("long", PROMPTS[2], max_tokens=1200)
PREFIX = [len(SPECIALS) + (7 * i) % (VOCABULARY_SIZE - len(SPECIALS)) for i in range(256)]


@dataclass
class Two:
    """A frontend in kv mode and two workers."""

    stack: Stack
    workers: dict[str, Running]

    def chosen(self, prompt: list[int], **more: object) -> str:
        """The worker that a request went to, by its id."""
        answer = self.stack.client().completions.create(
            model="tiny",
            prompt=prompt,
            max_tokens=1,
            extra_body={"nvext": {"extra_fields": ["worker_id"]}},
        )
        extra = answer.model_extra or {}
        return str(extra["nvext"]["worker_id"]["decode_worker_id"])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, engine: EngineUnderTest, tiny_model: Path) -> Iterator[Two]:
    with Stack(tmp_path_factory.mktemp("two"), tiny_model) as stack:
        mode = () if "kv-events" in engine.does_not_apply else ("--router-mode", "kv")
        stack.frontend(*mode)
        workers = [engine.start(stack, *mode) for _ in range(2)]
        for worker in workers:
            worker.wait_for_line("is ready", START_TIMEOUT)
        stack.wait_ready()
        yield Two(stack, {str(worker.pid): worker for worker in workers})


def test_kv_events(two: Two) -> None:
    """KV events reach a frontend in kv mode: a prompt goes back to the worker that holds it"""
    deadline = time.monotonic() + EVENTS_TIMEOUT
    while True:
        first = two.chosen(PREFIX)
        later = [two.chosen([*PREFIX, 20 + i]) for i in range(12)]
        if later.count(first) == len(later):
            return
        assert time.monotonic() < deadline, f"sent to {first}, then to {later}"


def test_migration(two: Two, same: Same) -> None:
    """A worker that is killed loses no request: another goes on without a gap"""
    whole = complete(two.stack, LONG).choices[0].text
    stream = iter(complete(two.stack, LONG, stream=True))
    text = next(stream).choices[0].text
    busy = max(two.workers.values(), key=lambda worker: _cpu(worker))
    children = psutil.Process(busy.pid).children(recursive=True)
    busy.process.send_signal(signal.SIGKILL)
    busy.wait()
    two.stack.running.remove(busy)
    del two.workers[str(busy.pid)]
    text += "".join(chunk.choices[0].text for chunk in stream if chunk.choices)
    assert same(text, whole)
    assert_gone(children)


def _cpu(worker: Running) -> float:
    """Seconds of processor time of a worker and its engine."""
    process = psutil.Process(worker.pid)
    return sum(sum(p.cpu_times()[:2]) for p in [process, *process.children(recursive=True)])


def test_engine_death(two: Two, engine: EngineUnderTest) -> None:
    """A worker whose engine dies ends with 1 and the engine's own error, and its streams end"""
    (worker,) = two.workers.values()
    children = psutil.Process(worker.pid).children(recursive=True)
    core = next(child for child in children if engine.core_process in child.name())
    stream = iter(complete(two.stack, LONG, stream=True))
    next(stream)
    core.kill()
    with pytest.raises(openai.APIError):
        list(stream)
    assert worker.wait(30) == 1
    assert worker.lines[-1].startswith("error: ")
    assert_gone(children)
