"""Line charts as SVG, by hand: a few lines each, readable in a diff."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 40, 50
COLOURS = ("#0b6e4f", "#c0392b", "#2c5aa0", "#b8860b", "#7d3c98")
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Plot:
    """Some lines over the same values of x; both axes are logarithmic where `log` says so."""

    name: str
    """Of the file, without its ending."""
    title: str
    x: str
    y: str
    lines: Mapping[str, Points]
    log_x: bool = True
    log_y: bool = False

    def svg(self) -> str:
        points = [point for line in self.lines.values() for point in line]
        if not points:
            return ""
        xs = Axis([x for x, _ in points], LEFT, WIDTH - RIGHT, log=self.log_x)
        low = [] if self.log_y else [0.0]
        ys = Axis([*low, *(y for _, y in points)], HEIGHT - BOTTOM, TOP, log=self.log_y)
        body = [*self._frame(xs, ys)]
        for number, (name, line) in enumerate(self.lines.items()):
            body += self._line(name, line, xs, ys, COLOURS[number % len(COLOURS)], number)
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        background = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        return "\n".join([head + 'font-family="sans-serif" font-size="12">', background, *body, "</svg>", ""])

    def _frame(self, xs: Axis, ys: Axis) -> list[str]:
        middle = (LEFT + WIDTH - RIGHT) / 2
        found = [
            text(middle, 20, self.title, 'text-anchor="middle" font-size="14"'),
            text(middle, HEIGHT - 10, self.x, 'text-anchor="middle"'),
            text(LEFT, TOP - 8, self.y, 'text-anchor="middle"'),
        ]
        for value in ys.ticks:
            at = ys.at(value)
            found.append(f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
            found.append(text(LEFT - 6, at + 4, short(value), 'text-anchor="end"'))
        for value in sorted(set(xs.values)):
            found.append(text(xs.at(value), HEIGHT - BOTTOM + 18, short(value), 'text-anchor="middle"'))
        return found

    def _line(self, name: str, line: Points, xs: Axis, ys: Axis, colour: str, number: int) -> list[str]:
        corners = [f"{xs.at(x):.1f},{ys.at(y):.1f}" for x, y in line]
        found = [f'<polyline points="{" ".join(corners)}" fill="none" stroke="{colour}" stroke-width="2"/>']
        found += [
            f'<circle cx="{corner.split(",")[0]}" cy="{corner.split(",")[1]}" r="3" fill="{colour}"/>'
            for corner in corners
        ]
        found.append(text(WIDTH - RIGHT + 12, TOP + 12 + 18 * number, name, f'fill="{colour}"'))
        return found


class Axis:
    """Where on the page a value is."""

    def __init__(self, values: Sequence[float], first: float, last: float, *, log: bool) -> None:
        self._log = log and min(values) > 0
        self.values = values
        self._low, self._high = self._scale(min(values)), self._scale(max(values))
        self._first, self._last = first, last

    def at(self, value: float) -> float:
        part = (self._scale(value) - self._low) / ((self._high - self._low) or 1)
        return self._first + part * (self._last - self._first)

    @property
    def ticks(self) -> list[float]:
        """Round values, from the lowest to the highest."""
        if self._log:
            return [10.0**power for power in range(math.ceil(self._low), math.floor(self._high) + 1)]
        step = 10 ** math.floor(math.log10(self._high or 1))
        step = next(step / part for part in (5, 2, 1) if self._high / (step / part) <= 8 or part == 1)
        return [number * step for number in range(int(self._high / step) + 1)]

    def _scale(self, value: float) -> float:
        return math.log10(value) if self._log else value


def text(x: float, y: float, what: str, attributes: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(what)}</text>'


def short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10000 else f"{value:g}"
