"""Contestants in turns, and what comes out as figures with a ratio."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lib.machine import Machine

OURS = "ours"
SHOWN = 6
"""Values of a run that are printed at once; the results have them all."""
Better = Literal["less", "more"]
Sample = Mapping[str, float]
"""What one run of one contestant gave, by the figure's name."""
Samples = dict[str, dict[str, list[float]]]
"""By figure, then by contestant: one value for each run."""


@dataclass(frozen=True)
class Goal:
    """What a figure has to reach."""

    bound: Literal["at least", "at most"]
    value: float
    of: Literal["ratio", "ours"] = "ratio"
    """Whether it is the ratio to the best peer that counts, or our figure itself."""

    def reached(self, figure: Figure) -> bool | None:
        """None if what it is measured by is missing."""
        found = figure.ratio if self.of == "ratio" else figure.median(figure.subject)
        if found is None:
            return None
        return found >= self.value if self.bound == "at least" else found <= self.value

    def __str__(self) -> str:
        what = "× the peer" if self.of == "ratio" else ""
        return f"{self.bound} {self.value:g}{what}"


@dataclass(frozen=True)
class Figure:
    """One figure of all contestants."""

    name: str
    unit: str
    samples: Mapping[str, list[float]]
    """By contestant; ours is called `ours`."""
    better: Better = "less"
    goal: Goal | None = None
    subject: str = OURS
    """Whose figure it is."""
    against: str | None = None
    """The contestant that the ratio is to; the best of the others if None."""

    def median(self, contestant: str) -> float | None:
        values = self.samples.get(contestant)
        return statistics.median(values) if values else None

    @property
    def peer(self) -> str | None:
        """Who the ratio is to."""
        if self.against is not None:
            return self.against if self.samples.get(self.against) else None
        medians = {name: self.median(name) for name in self.samples if name != self.subject}
        known = {name: value for name, value in medians.items() if value is not None}
        choose = min if self.better == "less" else max
        return choose(known, key=known.__getitem__) if known else None

    @property
    def ratio(self) -> float | None:
        """The subject's median as a multiple of the peer's."""
        ours, peer = self.median(self.subject), self.median(self.peer) if self.peer else None
        return ours / peer if ours is not None and peer else None

    @property
    def reached(self) -> bool | None:
        return self.goal.reached(self) if self.goal else None


@dataclass
class Alternating:
    """Runs contestants in turns, the order turned round every time."""

    runs: int
    machine: Machine
    say: Callable[[str], None]
    samples: Samples = field(default_factory=dict)

    def run(
        self, contestants: Mapping[str, Callable[[], Sample]], *, what: str, warm_up: bool = False
    ) -> None:
        """Add one sample for each contestant and run; a warm-up first is thrown away."""
        if warm_up:
            for contestant in contestants.values():
                contestant()
        for number in range(self.runs):
            order = list(contestants)
            for name in order if number % 2 == 0 else reversed(order):
                self.machine.look()
                sample = contestants[name]()
                shown = ", ".join(f"{figure} {value:.4g}" for figure, value in list(sample.items())[:SHOWN])
                self.say(f"{what}, run {number + 1} of {self.runs}, {name}: {shown}")
                for figure, value in sample.items():
                    self.samples.setdefault(figure, {}).setdefault(name, []).append(value)

    def figure(self, name: str, unit: str, better: Better = "less", goal: Goal | None = None) -> Figure:
        return Figure(name, unit, self.samples.get(name, {}), better, goal)
