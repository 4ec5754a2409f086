"""Scales, their ticks, and the frame of a plot: thin rules, small figures, titles that read from left to right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from recgauntlet.core.escape import visible
from recgauntlet_site.pictures.drawing import LINE, SMALL, WIDTH, Pen
from recgauntlet_site.pictures.lettering import fitted, width

_STEPS = (1.0, 2.0, 2.5, 5.0)


@dataclass(frozen=True)
class Scale:
    """Maps the values `low` to `high` to the coordinates `start` to `end`, evenly or (`log`) by their logarithms."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The coordinate of `value`; what lies outside is drawn at the edge."""
        inside = min(max(value, self.low), self.high)
        low, high, here = (math.log(v) if self.log else v for v in (self.low, self.high, inside))
        return self.start + (here - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int, *, whole: bool = False) -> tuple[float, ...]:
        """Round values, at most `most` of them; `whole` numbers of what is counted."""
        return self._decades(most) if self.log else self._even(most, whole)

    def _even(self, most: int, whole: bool) -> tuple[float, ...]:
        size = 10.0 ** math.floor(math.log10((self.high - self.low) / most))
        for step in (s * size * power for power in (1, 10, 100) for s in _STEPS):
            if whole and step % 1:
                continue
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            if last - first < most:
                return tuple(n * step for n in range(first, last + 1))
        return (self.low,)

    def _decades(self, most: int) -> tuple[float, ...]:
        low, high = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        for parts in ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
            found = [part * 10.0**power for power in range(low, high + 1) for part in parts]
            inside = [value for value in found if self.low <= value * (1 + 1e-9) and value <= self.high * (1 + 1e-9)]
            if len(inside) <= most:
                return tuple(inside)
        return tuple(10.0**power for power in range(low, high + 1, math.ceil((high - low) / most)))


@dataclass(frozen=True)
class Frame:
    """A plot's area and its scales."""

    left: float
    top: float
    right: float
    bottom: float
    x: Scale
    y: Scale


def frame(
    left: float,
    top: float,
    right: float,
    bottom: float,
    x: tuple[float, float],
    y: tuple[float, float],
    *,
    log: bool = False,
) -> Frame:
    """A frame for values of x and y in the given ranges."""
    return Frame(left, top, right, bottom, Scale(*x, left, right, log), Scale(*y, bottom, top))


def draw_axes(
    pen: Pen,
    area: Frame,
    *,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    y_labels: bool = True,
    suffix: str = "",
) -> None:
    """Rules across at the ticks of y, a line below, and their values."""
    pen.lines([[(area.left, y), (area.right, y)] for y in map(area.y.at, y_ticks) if y < area.bottom - 1], "rule", 0.7)
    pen.line([(area.left, area.bottom), (area.right, area.bottom)], "faint", 0.9)
    pen.lines([[(x, area.bottom), (x, area.bottom + 3.5)] for x in map(area.x.at, x_ticks)], "faint", 0.9)
    for value in x_ticks:
        text = f"{_short(value)}{suffix}"
        x = min(area.x.at(value), WIDTH - width(text, SMALL) / 2)
        pen.text(x, area.bottom + 14, text, size=SMALL, anchor="middle", colour="faint")
    for value in y_ticks if y_labels else ():
        pen.text(area.left - 6, area.y.at(value) + 3.8, _short(value), size=SMALL, anchor="end", colour="faint")


def y_title(pen: Pen, text: str, y: float, room: float, left: float = 0.0) -> None:
    """What is counted upwards, above the plot."""
    pen.text(left, y, fitted(visible(text), SMALL + 0.5, room, bold=True), size=SMALL + 0.5, bold=True)


def x_title(pen: Pen, area: Frame, text: str) -> float:
    """What is counted to the right, below the values; gives the y of its line."""
    y = area.bottom + 15 + LINE
    pen.text(area.right, y, fitted(text, SMALL + 0.5, area.right, bold=True), size=SMALL + 0.5, bold=True, anchor="end")
    return y


def spread(values: Sequence[float], *, least: float, pad: float, floor: float, ceiling: float) -> tuple[float, float]:
    """A range that holds `values` with `pad` on both sides, at least `least` wide, inside `floor` and `ceiling`."""
    low, high = min(values) - pad, max(values) + pad
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    low, high = (floor, max(high, floor + least)) if low < floor else (low, high)
    low, high = (min(low, ceiling - least), ceiling) if high > ceiling else (low, high)
    return max(low, floor), min(high, ceiling)


def _short(value: float) -> str:
    return f"{value:g}" if value == 0 or abs(value) >= 1e-3 else f"{value:.0e}"
