"""What a supervisor decides: no process, clock or terminal in here, so that it can be replayed.

A supervisor tells its director what happened, with the time in seconds, and does the orders that it
gets back. Between events it sleeps until `wake_at`, then calls `tick`.
"""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum

from dynamo_core.deploy.process import Plan, Process
from dynamo_core.serve.policy import RestartPolicy

STOP_MARGIN = 5.0
"""Seconds that processes get to end after their drain budget."""
SETTLED = 5.0
"""Seconds after which a process that cannot tell whether it is ready is taken to have worked."""
LEAST_GRACE = 2.0
"""Seconds that those who are asked last get at least."""
LATE = "not ready after"


class State(StrEnum):
    """Where one process of a plan stands, over all its lives."""

    STARTING = "starting"
    READY = "ready"
    WAITING = "waiting to start again"
    STOPPING = "stopping"
    ENDED = "ended"


@dataclass(frozen=True)
class Start:
    """Start the process."""

    name: str


@dataclass(frozen=True)
class Terminate:
    """Ask the process to end: SIGTERM."""

    name: str


@dataclass(frozen=True)
class Kill:
    """End the process and its group: SIGKILL."""

    name: str


@dataclass(frozen=True)
class Say:
    """Tell the user."""

    text: str


Order = Start | Terminate | Kill | Say


@dataclass
class Member:
    """One process of the plan and what became of it."""

    process: Process
    state: State = State.ENDED
    since: float = 0.0
    """When it came into its state."""
    deadline: float | None = None
    """When the director has to act on it, unless something happens first."""
    was_ready: bool = False
    took: float = 0.0
    """Seconds from its last start until it was ready."""
    restarts: list[float] = field(default_factory=list)
    """When it was started again after it had ended by itself."""
    code: int | None = None
    """Of its last end; negative for a signal, as in `subprocess`."""
    reason: str = ""
    """Why we ended it, or the last words of one that ended by itself."""
    reloads: bool = False
    """Whether it is being stopped to be started again."""

    @property
    def name(self) -> str:
        return self.process.name

    @property
    def is_running(self) -> bool:
        return self.state in (State.STARTING, State.READY, State.STOPPING)

    def enter(self, state: State, now: float, deadline: float | None = None) -> None:
        self.state, self.since, self.deadline = state, now, deadline


class Director:
    """Starts everything at once, restarts what fails later, and stops everything in order.

    In order means: what listens for clients first, so that streams in flight end while their
    workers still run.
    """

    def __init__(
        self,
        plan: Plan,
        policy: RestartPolicy,
        *,
        start_timeout: float,
        luck: Callable[[], float] = random.random,
    ) -> None:
        self.policy = policy
        self.start_timeout = start_timeout
        self.members = {process.name: Member(process) for process in plan.processes}
        self.began = 0.0
        self.ready_at: float | None = None
        self.stopping = False
        self.verdict = ""
        """Why the graph ends."""
        self._luck = luck
        self._code = 0
        self._regroup_at: float | None = None
        self._stop_by: float | None = None
        self._rolling: list[str] = []

    @property
    def exit_code(self) -> int | None:
        """Set once everything has ended for good."""
        over = self.stopping and all(member.state is State.ENDED for member in self.members.values())
        return self._code if over else None

    @property
    def is_ready(self) -> bool:
        return all(member.state is State.READY for member in self.members.values())

    @property
    def wake_at(self) -> float | None:
        """When `tick` has something to do, if nothing happens before."""
        times = [m.deadline for m in self.members.values() if m.deadline is not None]
        return min(times, default=None)

    def begin(self, now: float) -> list[Order]:
        """The first start."""
        self.began = now
        orders = [order for member in self.members.values() for order in self._start(member, now)]
        return orders if orders else self._stop(now, "nothing to run", 0)

    def ready(self, name: str, now: float) -> list[Order]:
        """A process does its work."""
        member = self.members[name]
        if member.state is not State.STARTING:
            return []
        member.took = now - member.since
        member.enter(State.READY, now)
        first = not member.was_ready
        member.was_ready = True
        after = f" after {member.took:.1f} s" if member.process.ready_url else ""
        orders: list[Order] = [Say(f"{name} is up{'' if first else ' again'}{after}")]
        if self.ready_at is None and self.is_ready:
            self.ready_at = now
            addresses = ", ".join(m.process.address for m in self.members.values() if m.process.address)
            orders.append(Say(f"ready after {now - self.began:.1f} s {addresses}".rstrip()))
        return orders + self._roll(now)

    def exited(self, name: str, code: int, last_words: str, now: float) -> list[Order]:
        """A process has ended and nothing of it is left."""
        member = self.members[name]
        was = member.state
        member.enter(State.ENDED, now)
        member.code = code
        if was is not State.STOPPING:
            member.reason = member.reason or last_words
            if not self.stopping and self._regroup_at is None:
                return self._ended_by_itself(member, now)
        return self._after_stop(member, now)

    def cannot_start(self, name: str, why: str, now: float) -> list[Order]:
        """A process could not even be created."""
        return self.exited(name, 1, why, now)

    def stop(self, now: float, why: str) -> list[Order]:
        """Stop everything in order and be done."""
        return [] if self.stopping else self._stop(now, why, 0)

    def kill(self, now: float) -> list[Order]:
        """End everything at once."""
        self._end_the_waiting(now)
        return [Kill(member.name) for member in self.members.values() if member.is_running]

    def restart(self, names: Collection[str], now: float) -> list[Order]:
        """Restart processes one after the other, each only once the one before is ready."""
        self._rolling += [name for name in self.members if name in names and name not in self._rolling]
        return self._roll(now)

    @property
    def is_rolling(self) -> bool:
        """Whether a rolling restart goes on."""
        return bool(self._rolling) or any(member.reloads for member in self.members.values())

    def tick(self, now: float) -> list[Order]:
        """Act on every deadline that has passed."""
        due = [m for m in self.members.values() if m.deadline is not None and m.deadline <= now]
        orders: list[Order] = []
        for member in due:
            member.deadline = None
            if member.state is State.WAITING:
                orders += self._start(member, now)
            elif member.state is State.STOPPING:
                orders += [Say(f"{member.name} did not end in its time and is killed"), Kill(member.name)]
        late = [member for member in due if member.state is State.STARTING and member.deadline is None]
        return orders + self._too_late(late, now)

    def _too_late(self, late: list[Member], now: float) -> list[Order]:
        """What never was ready ends the graph; what was ready once counts as having failed again."""
        for member in late:
            member.reason = f"{LATE} {self._start_timeout_of(member):g} s"
        if hopeless := [member for member in late if not member.was_ready]:
            names = ", ".join(member.name for member in hopeless)
            return self._stop(now, f"{hopeless[0].reason}: {names}", 1)
        return [Kill(member.name) for member in late]

    def _start(self, member: Member, now: float) -> list[Order]:
        member.reason = ""
        member.enter(State.STARTING, now, now + self._start_timeout_of(member))
        return [Start(member.name)]

    def _start_timeout_of(self, member: Member) -> float:
        return member.process.start_timeout or self.start_timeout

    def _has_worked(self, member: Member, now: float) -> bool:
        """Whether it ever did its work. One that cannot tell has to live for a while."""
        if member.process.ready_url:
            return member.was_ready
        return bool(member.restarts) or now - self.began >= SETTLED

    def _ended_by_itself(self, member: Member, now: float) -> list[Order]:
        code = 1 if member.reason.startswith(LATE) else member.code or 0
        words = self._obituary(member)
        is_final = member.process.foreground or (code != 0 and not self._has_worked(member, now))
        if is_final or not self.policy.wants_restart(code, member.process.restart):
            return self._stop(now, words, code)
        delay = self.policy.delay(member.restarts, now, self._luck)
        if delay is None:
            count = f"{self.policy.limit} restarts within {self.policy.window:g} s"
            return self._stop(now, f"{words}; given up after {count}", code or 1)
        member.restarts.append(now)
        whole = self.policy.scope == "graph"
        what = "the graph starts" if whole else "starting"
        again: Order = Say(f"{words}; {what} again in {delay:.1f} s (restart {len(member.restarts)})")
        if whole:
            self._regroup_at = now + delay
            return [again, *self._stop_in_order(now), *self._regroup(now)]
        member.enter(State.WAITING, now, now + delay)
        return [again]

    @staticmethod
    def _obituary(member: Member) -> str:
        if member.reason.startswith(LATE):
            return f"{member.name} was {member.reason}"
        words = f"{member.name} ended {describe_exit(member.code or 0)}"
        return f"{words}; its last words: {member.reason}" if member.code and member.reason else words

    def _stop(self, now: float, why: str, code: int) -> list[Order]:
        self.stopping = True
        self.verdict = why
        self._code = code if code >= 0 else 1
        self._rolling.clear()
        self._end_the_waiting(now)
        running = [member.name for member in self.members.values() if member.is_running]
        text = f"{why}; stopping {', '.join(running)}" if running else why
        return [Say(text), *self._stop_in_order(now)]

    def _end_the_waiting(self, now: float) -> None:
        for member in self.members.values():
            if member.state is State.WAITING:
                member.enter(State.ENDED, now)

    def _stop_in_order(self, now: float) -> list[Order]:
        """Ask the next ones to end: all that face clients, and when these have ended, the others."""
        running = [member for member in self.members.values() if member.is_running]
        if self._stop_by is None:
            self._stop_by = now + self._budget(running)
        first = [member for member in running if member.process.address]
        deadline = max(self._stop_by, now + LEAST_GRACE)
        return [order for member in first or running for order in self._ask_to_end(member, now, deadline)]

    @staticmethod
    def _budget(members: Collection[Member]) -> float:
        return max((member.process.drain_timeout for member in members), default=0.0) + STOP_MARGIN

    @staticmethod
    def _ask_to_end(member: Member, now: float, deadline: float) -> list[Order]:
        if member.state is State.STOPPING:
            return []
        if member.state is State.STARTING:  # it has nothing to drain
            deadline = min(deadline, now + STOP_MARGIN)
        member.enter(State.STOPPING, now, deadline)
        return [Terminate(member.name)]

    def _after_stop(self, member: Member, now: float) -> list[Order]:
        """One that we have stopped has ended."""
        reloads, member.reloads = member.reloads, False
        if reloads and not self.stopping and self._regroup_at is None:
            return self._start(member, now)
        return [*self._stop_in_order(now), *self._regroup(now)]

    def _regroup(self, now: float) -> list[Order]:
        """Let all start again together, once the last one has ended."""
        if self._regroup_at is None or self.stopping or any(m.is_running for m in self.members.values()):
            return []
        for member in self.members.values():
            member.enter(State.WAITING, now, max(now, self._regroup_at))
        self._regroup_at = self._stop_by = None
        return []

    def _roll(self, now: float) -> list[Order]:
        """Go on with a rolling restart, if the last one restarted is ready."""
        if not self._rolling or not self.is_ready:
            return []
        member = self.members[self._rolling.pop(0)]
        member.reloads = True
        deadline = now + self._budget([member])
        return [Say(f"restarting {member.name}"), *self._ask_to_end(member, now, deadline)]


def describe_exit(code: int) -> str:
    """How a process ended, in words: `with exit code 2` or `by SIGKILL`."""
    try:
        return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    except ValueError:
        return f"by signal {-code}"
