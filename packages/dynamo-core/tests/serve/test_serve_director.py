"""What a supervisor decides, replayed without a process or a clock."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dynamo_core.deploy.process import Plan, Process
from dynamo_core.serve.director import (
    LEAST_GRACE,
    SETTLED,
    STOP_MARGIN,
    Director,
    Kill,
    Order,
    Say,
    Start,
    State,
    Terminate,
)
from dynamo_core.serve.policy import RestartPolicy

FRONTEND = Process(
    "Frontend/0", ("frontend",), ready_url="http://f/health", address="http://f", drain_timeout=30.0
)
WORKERS = [
    Process(f"Worker/{i}", ("worker",), ready_url=f"http://w{i}/health", drain_timeout=30.0) for i in (0, 1)
]
GRAPH = (FRONTEND, *WORKERS)
NAMES = [process.name for process in GRAPH]


class Replay:
    """A director at a time of its own; keeps what it has ordered since it was last asked."""

    def __init__(
        self, *processes: Process, policy: RestartPolicy | None = None, timeout: float = 60.0
    ) -> None:
        plan = Plan("test", processes or GRAPH)
        self.director = Director(plan, policy or RestartPolicy(), start_timeout=timeout, luck=lambda: 0.0)
        self.now = 100.0
        self.said: list[str] = []
        self.orders: list[Order] = []
        self.keep(self.director.begin(self.now))

    def keep(self, orders: list[Order]) -> None:
        self.said += [order.text for order in orders if isinstance(order, Say)]
        self.orders += [order for order in orders if not isinstance(order, Say)]

    def taken(self) -> list[Order]:
        orders, self.orders = self.orders, []
        return orders

    def after(self, seconds: float) -> list[Order]:
        """Let time pass, ticking whenever the director wants it."""
        end = self.now + seconds
        while (wake := self.director.wake_at) is not None and wake <= end:
            self.now = max(self.now, wake)
            self.keep(self.director.tick(self.now))
        self.now = end
        return self.taken()

    def ready(self, *names: str) -> list[Order]:
        for name in names or NAMES:
            self.keep(self.director.ready(name, self.now))
        return self.taken()

    def exits(self, name: str, code: int, words: str = "") -> list[Order]:
        self.keep(self.director.exited(name, code, words, self.now))
        return self.taken()

    def stop(self) -> list[Order]:
        self.keep(self.director.stop(self.now, "Ctrl-C"))
        return self.taken()

    def state(self, name: str) -> State:
        return self.director.members[name].state


@pytest.fixture
def running() -> Replay:
    replay = Replay()
    replay.taken()
    replay.ready()
    return replay


def test_all_are_started_at_once_and_ready_is_said_when_the_last_is() -> None:
    replay = Replay()
    assert replay.taken() == [Start(name) for name in NAMES]
    replay.now += 2.5
    assert replay.ready("Worker/0", "Worker/1") == []
    assert not replay.director.is_ready
    replay.ready("Frontend/0")
    assert replay.said[-2:] == ["Frontend/0 is up after 2.5 s", "ready after 2.5 s http://f"]
    assert replay.director.wake_at is None


def test_readiness_of_a_life_that_is_over_is_not_heard(running: Replay) -> None:
    running.exits("Worker/0", 1)
    assert running.state("Worker/0") is State.WAITING
    assert running.ready("Worker/0") == []
    assert running.state("Worker/0") is State.WAITING


def test_clients_are_served_to_the_end_before_workers_are_asked(running: Replay) -> None:
    assert running.stop() == [Terminate("Frontend/0")]
    assert running.stop() == []
    assert running.exits("Frontend/0", 0) == [Terminate("Worker/0"), Terminate("Worker/1")]
    running.exits("Worker/0", 0)
    assert running.director.exit_code is None
    running.exits("Worker/1", 0)
    assert running.director.exit_code == 0


def test_one_budget_for_all_and_then_sigkill_once(running: Replay) -> None:
    """P11 (ai-dynamo #14675)."""
    running.stop()
    assert running.after(30.0 + STOP_MARGIN - 0.1) == []
    assert running.after(0.1) == [Kill("Frontend/0")]
    assert running.exits("Frontend/0", -9) == [Terminate("Worker/0"), Terminate("Worker/1")]
    assert running.after(LEAST_GRACE - 0.1) == []
    assert running.after(0.1) == [Kill("Worker/0"), Kill("Worker/1")]
    assert running.after(1000.0) == []


def test_a_second_signal_kills_what_runs(running: Replay) -> None:
    running.stop()
    running.exits("Frontend/0", 0)
    running.exits("Worker/0", 0)
    assert running.director.kill(running.now) == [Kill("Worker/1")]
    running.exits("Worker/1", -9)
    assert running.director.exit_code == 0


def test_a_failure_is_restarted_with_growing_delays_and_then_given_up(running: Replay) -> None:
    for delay in (1.0, 2.0, 4.0, 8.0, 16.0):
        assert running.exits("Worker/0", 1, "error: no luck") == []
        assert f"starting again in {delay:.1f} s" in running.said[-1]
        assert running.after(delay - 0.01) == []
        assert running.after(0.01) == [Start("Worker/0")]
        running.ready("Worker/0")
    assert running.exits("Worker/0", 1, "error: no luck") == [Terminate("Frontend/0")]
    assert running.said[-1] == (
        "Worker/0 ended with exit code 1; its last words: error: no luck; given up after 5 restarts within "
        "300 s; stopping Frontend/0, Worker/1"
    )
    running.exits("Frontend/0", 0)
    running.exits("Worker/1", 0)
    assert running.director.exit_code == 1


def test_old_restarts_do_not_count(running: Replay) -> None:
    for _ in range(20):
        running.exits("Worker/0", 1)
        assert "starting again in 1.0 s" in running.said[-1]
        assert running.after(1.0) == [Start("Worker/0")]
        running.ready("Worker/0")
        running.after(300.0)


def test_delays_have_an_upper_end_and_jitter() -> None:
    policy = RestartPolicy(limit=100)
    delays = [policy.delay([0.0] * count, 1.0, lambda: 1.0) for count in range(100)]
    assert delays[:3] == pytest.approx([1.2, 2.4, 4.8])
    assert max(delay or 0.0 for delay in delays) == pytest.approx(36.0)
    assert policy.delay([0.0] * 100, 1.0) is None


@pytest.mark.parametrize(
    ("when", "code", "again"),
    [
        ("never", 1, False),
        ("never", 0, False),
        ("on-failure", 1, True),
        ("on-failure", -11, True),
        ("on-failure", 0, False),
        ("always", 0, True),
        ("always", 3, True),
    ],
)
def test_when_it_is_started_again(when: str, code: int, again: bool) -> None:
    for process_says in (False, True):
        processes = [replace(process, restart=when if process_says else None) for process in GRAPH]  # type: ignore[arg-type]
        policy = RestartPolicy() if process_says else RestartPolicy(when=when)  # type: ignore[arg-type]
        replay = Replay(*processes, policy=policy)
        replay.ready()
        replay.exits("Worker/1", code)
        assert (replay.state("Worker/1") is State.WAITING) is again
        assert replay.director.stopping is not again


def test_the_exit_code_is_that_of_the_one_that_failed() -> None:
    for code, expected in ((7, 7), (-9, 1), (0, 0)):
        replay = Replay(policy=RestartPolicy(when="never"))
        replay.ready()
        replay.exits("Worker/0", code)
        replay.exits("Frontend/0", 3)
        replay.exits("Worker/1", 4)
        assert replay.director.exit_code == expected


def test_what_fails_before_it_ever_worked_is_not_tried_again() -> None:
    replay = Replay()
    replay.taken()
    replay.ready("Frontend/0", "Worker/0")
    assert replay.exits("Worker/1", 2, "error: no such model") == [Terminate("Frontend/0")]
    assert replay.said[-1].startswith(
        "Worker/1 ended with exit code 2; its last words: error: no such model;"
    )


def test_one_that_cannot_tell_has_worked_after_a_while() -> None:
    script = Process("Script/0", ("script",))
    for lived, again in ((SETTLED - 0.1, False), (SETTLED, True)):
        replay = Replay(script)
        replay.ready("Script/0")
        replay.after(lived)
        replay.exits("Script/0", 1)
        assert (replay.state("Script/0") is State.WAITING) is again


def test_a_start_that_takes_too_long_ends_the_graph() -> None:
    replay = Replay(timeout=10.0)
    replay.taken()
    replay.ready("Worker/0")
    assert replay.after(9.9) == []
    assert replay.after(0.1) == [Terminate("Frontend/0")]
    assert replay.said[-1] == (
        "not ready after 10 s: Frontend/0, Worker/1; stopping Frontend/0, Worker/0, Worker/1"
    )
    assert replay.after(STOP_MARGIN) == [Kill("Frontend/0")]  # it has no stream that could be drained
    replay.exits("Frontend/0", -9)
    replay.exits("Worker/0", 0)
    replay.exits("Worker/1", 0)
    assert replay.director.exit_code == 1


def test_a_deadline_of_its_own() -> None:
    replay = Replay(FRONTEND, replace(WORKERS[0], start_timeout=100.0), timeout=10.0)
    replay.taken()
    replay.ready("Frontend/0")
    assert replay.after(99.0) == []
    replay.after(1.0)
    assert replay.said[-1].startswith("not ready after 100 s: Worker/0")


def test_a_restart_that_takes_too_long_counts_as_a_failure(running: Replay) -> None:
    running.exits("Worker/0", 1)
    assert running.after(1.0) == [Start("Worker/0")]
    assert running.after(60.0) == [Kill("Worker/0")]
    running.exits("Worker/0", -9, "loading …")
    assert "Worker/0 was not ready after 60 s; starting again in 2.0 s (restart 2)" in running.said
    assert not running.director.stopping


def test_ctrl_c_while_it_starts_and_while_it_waits(running: Replay) -> None:
    starting = Replay()
    starting.taken()
    assert starting.stop() == [Terminate("Frontend/0")]
    running.exits("Worker/0", 1)
    assert running.stop() == [Terminate("Frontend/0")]
    running.exits("Frontend/0", 0)
    running.exits("Worker/1", 0)
    assert running.after(1000.0) == []
    assert running.director.exit_code == 0


def test_a_rolling_restart_takes_one_at_a_time(running: Replay) -> None:
    running.keep(running.director.restart(NAMES[1:], running.now))
    assert running.taken() == [Terminate("Worker/0")]
    assert running.exits("Worker/0", 0) == [Start("Worker/0")]
    assert running.after(5.0) == []
    assert running.ready("Worker/0") == [Terminate("Worker/1")]
    assert running.director.is_rolling
    assert running.exits("Worker/1", 0) == [Start("Worker/1")]
    assert running.ready("Worker/1") == []
    assert not running.director.is_rolling
    assert all(member.restarts == [] for member in running.director.members.values())


def test_a_rolling_restart_kills_what_does_not_end(running: Replay) -> None:
    running.keep(running.director.restart(["Worker/0"], running.now))
    running.taken()
    assert running.after(30.0 + STOP_MARGIN) == [Kill("Worker/0")]
    assert running.exits("Worker/0", -9) == [Start("Worker/0")]


def test_a_rolling_restart_waits_for_a_failure_elsewhere(running: Replay) -> None:
    running.keep(running.director.restart(["Worker/0", "Worker/1"], running.now))
    running.taken()
    running.exits("Frontend/0", 1)
    assert running.exits("Worker/0", 0) == [Start("Worker/0")]
    assert running.ready("Worker/0") == []
    assert running.after(1.0) == [Start("Frontend/0")]
    assert running.ready("Frontend/0") == [Terminate("Worker/1")]


def test_stop_beats_a_rolling_restart(running: Replay) -> None:
    running.keep(running.director.restart(["Worker/0", "Worker/1"], running.now))
    running.taken()
    assert running.stop() == [Terminate("Frontend/0")]
    assert running.exits("Worker/0", 0) == []
    assert running.exits("Frontend/0", 0) == [Terminate("Worker/1")]
    running.exits("Worker/1", 0)
    assert running.director.exit_code == 0


def test_the_whole_graph_can_be_the_unit_of_restart() -> None:
    replay = Replay(policy=RestartPolicy(scope="graph"))
    replay.taken()
    replay.ready()
    assert replay.exits("Worker/0", 1) == [Terminate("Frontend/0")]
    assert replay.exits("Frontend/0", 0) == [Terminate("Worker/1")]
    assert replay.after(3.0) == []
    replay.exits("Worker/1", 0)
    assert replay.after(0.0) == [Start(name) for name in NAMES]
    replay.ready()
    assert replay.director.is_ready


def test_a_whole_graph_of_one() -> None:
    replay = Replay(WORKERS[0], policy=RestartPolicy(scope="graph"))
    replay.taken()
    replay.ready("Worker/0")
    assert replay.exits("Worker/0", 1) == []
    assert replay.after(0.9) == []
    assert replay.after(0.1) == [Start("Worker/0")]


def test_the_graph_ends_with_the_one_at_the_terminal() -> None:
    chat = Process("Frontend/0", ("chat",), foreground=True, restart="always")
    for code in (0, 1):
        replay = Replay(chat, WORKERS[0])
        replay.taken()
        replay.ready("Frontend/0", "Worker/0")
        assert replay.exits("Frontend/0", code) == [Terminate("Worker/0")]
        replay.exits("Worker/0", 0)
        assert replay.director.exit_code == code


def test_one_that_cannot_even_be_created() -> None:
    replay = Replay(WORKERS[0])
    replay.keep(replay.director.cannot_start("Worker/0", "cannot run x: No such file", replay.now))
    assert replay.director.exit_code == 1
    assert replay.said == ["Worker/0 ended with exit code 1; its last words: cannot run x: No such file"]


def test_nothing_to_run() -> None:
    director = Director(Plan("test", ()), RestartPolicy(), start_timeout=1.0)
    assert director.begin(0.0) == [Say("nothing to run")]
    assert director.exit_code == 0
