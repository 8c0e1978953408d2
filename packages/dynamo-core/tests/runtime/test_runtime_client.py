"""Calling a component from another process."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dynamo_core.errors import REQUEST_ERRORS
from dynamo_core.testing.processes import Running, Stack

PATH = "test.answers.generate"
LOST = {"EngineShutdown", "Disconnected", "StreamIncomplete", "CannotConnect"}
"""The Rust client tells these apart no further: they all mean that another worker has to take over."""

Ask = Callable[..., list[dict[str, Any]]]
Start = Callable[..., Running]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, component: Start) -> Iterator[Stack]:
    """A stack with one component that answers, for tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("answers")
    with Stack(folder, folder) as stack:
        component(stack, "answers.py").wait_for_line("generate is ready")
        yield stack


def test_answers_in_order(shared: Stack, ask: Ask) -> None:
    (result,) = ask(shared, PATH, [{"request": {"count": 5}}])
    assert result == {"answers": [0, 1, 2, 3, 4], "error": None}


@pytest.mark.parametrize("kind", REQUEST_ERRORS)
def test_errors_come_out_as_their_kind(shared: Stack, ask: Ask, kind: str) -> None:
    calls = [{"request": {"error": kind, "count": count}, "instance": "known"} for count in (0, 3)]
    first, later = ask(shared, PATH, calls)
    assert (first["answers"], later["answers"]) == ([], [0, 1, 2])
    for result in (first, later):
        assert result["error"] in (LOST if kind in LOST else {kind})
        assert "out of cheese" in result["message"]


@pytest.mark.parametrize("defect", ["RuntimeError", "ValueError"])
def test_a_defect_of_the_other_side_is_unknown(shared: Stack, ask: Ask, defect: str) -> None:
    (result,) = ask(shared, PATH, [{"request": {"error": defect}}])
    assert result["error"] == "Unknown"
    assert f"{defect}: out of cheese" in result["message"]


def test_leaving_the_loop_early_cancels_the_handler(shared: Stack, ask: Ask) -> None:
    endless = {"count": 10_000, "delay": 0.01}
    left, asked = ask(shared, PATH, [{"request": endless, "take": 3}, {"request": {"was_cancelled": True}}])
    assert left["answers"] == [0, 1, 2]
    assert asked == {"answers": ["cancelled"], "error": None}


def test_a_caller_that_stops_reading_holds_nobody_else_up(stack: Stack, component: Start, ask: Ask) -> None:
    """P22. What a network and the Rust runtime keep for it is some megabytes; here come hundreds."""
    component(stack, "answers.py").wait_for_line("generate is ready")
    flood = {"request": {"count": 4000, "size": 1 << 16}, "pause": 60}
    lazy = component(stack, "caller.py", PATH, json.dumps([flood]))
    lazy.wait_for_line("pausing")
    for _ in range(3):
        (result,) = ask(stack, PATH, [{"request": {"count": 100}}])
        assert result["answers"] == list(range(100))
    assert lazy.process.poll() is None
    lazy.process.kill()


def test_waiting_for_what_does_not_come(shared: Stack, ask: Ask) -> None:
    missing, called = ask(shared, "test.absent.generate", [{"request": {}, "wait": 0.3}])
    assert missing["missing"] == (
        "no instance of test.absent.generate appeared within 0.3 s\n"
        "  fix: start the component that serves it, with the same discovery settings and namespace"
    )
    assert called["error"] == "CannotConnect"


def test_an_instance_that_is_not_there(shared: Stack, ask: Ask) -> None:
    (result,) = ask(shared, PATH, [{"request": {"count": 1}, "instance": 12345}])
    assert result["error"] == "CannotConnect"
    assert "12345" in result["message"]


def test_both_endpoints_of_a_component_drain(stack: Stack, component: Start) -> None:
    worker = component(stack, "answers.py")
    callers = [
        component(stack, "caller.py", f"test.answers.{endpoint}", json.dumps([{"request": request}]))
        for endpoint, request in (
            ("generate", {"count": 5, "delay": 0.1}),
            ("other", {"count": 15, "delay": 0.1}),
        )
    ]
    for count in (5, 15):  # before that, a client gives up on whoever leaves, and may ask another one
        worker.wait_for_line(f"^answers {count}$")
    worker.process.send_signal(signal.SIGTERM)
    for caller, count in zip(callers, (5, 15), strict=True):
        assert caller.wait() == 0, caller.output
        assert json.loads(caller.lines[-1]) == {"answers": list(range(count)), "error": None}
    assert worker.wait() == 0


def test_what_outlives_the_drain_budget_is_ended_with_a_reason(stack: Stack, component: Start) -> None:
    worker = component(stack, "answers.py", "--drain-timeout", 0.2)
    endless = json.dumps([{"request": {"count": 1000, "delay": 0.05}}])
    caller = component(stack, "caller.py", PATH, endless)
    worker.wait_for_line("started")
    assert worker.stop() == 0
    assert caller.wait() == 0, caller.output
    assert json.loads(caller.lines[-1])["error"] in LOST
