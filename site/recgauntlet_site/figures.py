"""The plot of clean against robust accuracy and cost.

A defense has a shape as well as a colour; the numbers are in the table beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import MultipleLocator
from matplotlib.transforms import Bbox

from recgauntlet.rows import RANKING_TIER, Cell, Row, TaskTable, ThreatColumn
from recgauntlet_site.drawing import INK, SERIES, SETTINGS, SHAPES, defense_series, for_page, plain_axes, short
from recgauntlet_site.words import percent, times

HorizontalAlignment = Literal["left", "center", "right"]
VerticalAlignment = Literal["bottom", "center", "top"]


@dataclass(frozen=True)
class _Point:
    row: Row
    cell: Cell
    series: int
    hollow: bool


def plot(table: TaskTable, column: ThreatColumn, name: str) -> str:
    """An `<svg>` element of the rows under one threat at the standard tier; empty where no row has a value
    there.

    `name` prefixes the ids inside, so that several plots can stand on one page.
    """
    series = defense_series(table)
    points = [
        _Point(row, cell, series[row.defense.name], table.ranked and row.rank is None)
        for row in table.rows
        if (cells := row.under(column.id)) is not None and (cell := cells.at(RANKING_TIER)) is not None
    ]
    if not points:
        return ""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(5.6, 4.3), dpi=100)
        canvas: Any = FigureCanvasAgg(figure)
        axes = figure.add_axes((0.1, 0.115, 0.88, 0.87))
        _frame(axes, points)
        for point in points:
            _draw(axes, point)
        _label(axes, points, canvas.get_renderer())
        return for_page(figure, name)


def describe(table: TaskTable, column: ThreatColumn) -> str:
    """The plot in words, for those who cannot see it."""
    parts = []
    for row in table.rows:
        cells = row.under(column.id)
        cell = cells.at(RANKING_TIER) if cells else None
        if cell is not None:
            parts.append(
                f"{row.model.name} trained with {row.defense.name}: {percent(row.clean.value)} % clean, "
                f"{percent(cell.robust.value)} % robust, {times(row.cost.seconds_ratio)} the training time"
            )
    return f"Clean against robust accuracy under {column.id}. {'; '.join(parts)}."


def _frame(axes: Axes, points: Sequence[_Point]) -> None:
    clean = [100 * point.row.clean.value for point in points]
    low = min(100 * min(point.row.clean.low for point in points) - 2, max(clean) - 12)
    high = max(100 * max(point.row.clean.high for point in points) + 2, min(clean) + 12)
    low, high = max(low, 0.0), min(high, 100.0)
    bottom = max(0.0, 100 * min(point.cell.robust.low for point in points) - 5)
    top = min(100.0, max(100 * max(point.cell.robust.high for point in points) + 6, bottom + 20))
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, top)
    axes.xaxis.set_major_locator(MultipleLocator(5 if high - low < 40 else 10))
    axes.yaxis.set_major_locator(MultipleLocator(5 if top - bottom < 40 else 10))
    axes.set_xlabel("clean accuracy, %", color=INK["ink"])
    axes.set_ylabel("robust accuracy, %", color=INK["ink"])
    plain_axes(axes)
    axes.plot([0, 100], [0, 100], color=INK["faint"], linewidth=1, dashes=(4, 3), zorder=1)
    if bottom + 1 < 50 < top - 3:
        axes.axhline(50, color=INK["faint"], linewidth=1, dashes=(1, 3), zorder=1)
        _remark(axes, "a constant answer", (high, 50 + 0.006 * (top - bottom)), "right", "bottom")
    start, end = max(low, bottom), min(high, top)
    if end - start > 3:
        side: HorizontalAlignment = "right" if end > high - 3 else "left"
        _remark(axes, "nothing lost ", (end, end - 0.03 * (top - bottom)), side, "top")


def _remark(axes: Axes, text: str, place: tuple[float, float], ha: HorizontalAlignment, va: VerticalAlignment) -> None:
    axes.text(*place, text, color=INK["faint"], fontsize=8.5, ha=ha, va=va)


def _draw(axes: Axes, point: _Point) -> None:
    clean, robust = point.row.clean, point.cell.robust
    colour = INK[f"s{point.series % SERIES}"]
    x, y = 100 * clean.value, 100 * robust.value
    axes.plot([100 * clean.low, 100 * clean.high], [y, y], color=colour, linewidth=1.2, alpha=0.55, zorder=2)
    axes.plot([x, x], [100 * robust.low, 100 * robust.high], color=colour, linewidth=1.2, alpha=0.55, zorder=2)
    axes.scatter(
        [x],
        [y],
        s=_area(point.row),
        marker=SHAPES[point.series % len(SHAPES)],
        facecolors=INK["paper"] if point.hollow else colour,
        edgecolors=colour if point.hollow else INK["paper"],
        linewidths=1.6 if point.hollow else 1.0,
        zorder=3,
    )


def _area(row: Row) -> float:
    """The marker's area grows with the training cost, up to ten times the undefended twin's."""
    return 45.0 * min(max(row.cost.seconds_ratio or 1.0, 0.5), 10.0)


MISLEADING = 2000.0
"""What it costs a label to stand nearer to another point than to its own: more than covering some of a line."""


def _label(axes: Axes, points: Sequence[_Point], renderer: RendererAgg) -> None:
    """Write each point's name where it covers the least of what is there already."""
    frame = axes.get_window_extent(renderer)
    taken: list[Bbox] = []
    centres: list[tuple[float, float]] = []
    for point in points:
        x, y = axes.transData.transform((100 * point.row.clean.value, 100 * point.cell.robust.value))
        centres.append((float(x), float(y)))
        reach = _area(point.row) ** 0.5 / 2 * 1.4
        taken.append(Bbox.from_bounds(x - reach, y - reach, 2 * reach, 2 * reach))
        clean, robust = point.row.clean, point.cell.robust
        left, bottom = axes.transData.transform((100 * clean.low, 100 * robust.low))
        right, top = axes.transData.transform((100 * clean.high, 100 * robust.high))
        taken += [Bbox.from_extents(left, y - 1, right, y + 1), Bbox.from_extents(x - 1, bottom, x + 1, top)]
    taken += [text.get_window_extent(renderer) for text in axes.texts]
    for number, point in enumerate(points):
        others = centres[:number] + centres[number + 1 :]
        text = axes.annotate(
            short(f"{point.row.model.name} + {point.row.defense.name}") + f"  {times(point.row.cost.seconds_ratio)}",
            (100 * point.row.clean.value, 100 * point.cell.robust.value),
            xytext=(0, 0),
            textcoords="offset points",
            color=INK["ink"],
            fontsize=9,
            zorder=4,
            arrowprops={"arrowstyle": "-", "color": INK["faint"], "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3},
        )
        best: tuple[float, _Place] | None = None
        for place in _places(_area(point.row) ** 0.5 / 2 + 4):
            _move(text, place)
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer)
            outside = max(0.0, box.x1 - frame.x1) + max(0.0, frame.x0 - box.x0)
            outside += max(0.0, box.y1 - frame.y1) + max(0.0, frame.y0 - box.y0)
            cost = 50 * outside + sum(_overlap(box, other) for other in taken) + place.cost
            own = _distance(box, centres[number])
            cost += MISLEADING * sum(_distance(box, other) < own + 4 for other in others)
            if best is None or cost < best[0] - 1e-9:
                best = (cost, place)
        assert best is not None  # there are always places
        _move(text, best[1])
        text.update_positions(renderer)
        if text.arrow_patch is not None:
            text.arrow_patch.set_visible(best[1].cost > 0)
        taken.append(Text.get_window_extent(text, renderer))


@dataclass(frozen=True)
class _Place:
    """Where a label may stand: its offset from the point in points, how it is aligned, and what the place
    costs."""

    x: float
    y: float
    ha: HorizontalAlignment
    va: VerticalAlignment
    cost: float


def _places(reach: float) -> list[_Place]:
    """Close by first; farther away, joined by a line, at the cost of some overlap."""
    across: dict[int, HorizontalAlignment] = {-1: "right", 0: "center", 1: "left"}
    along: dict[int, VerticalAlignment] = {-1: "top", 0: "center", 1: "bottom"}
    directions = ((1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
    return [
        _Place(x * (reach + far), y * (reach + far), across[x], along[y], 8 * far)
        for far in (0, 12, 24, 40)
        for x, y in directions
    ]


def _move(text: Annotation, place: _Place) -> None:
    text.set_position((place.x, place.y))
    text.set_horizontalalignment(place.ha)
    text.set_verticalalignment(place.va)


def _overlap(one: Bbox, other: Bbox) -> float:
    common = Bbox.intersection(one, other)
    return 0.0 if common is None else float(common.width * common.height)


def _distance(box: Bbox, point: tuple[float, float]) -> float:
    """From a point to the nearest edge of a box, 0 inside."""
    across = max(box.x0 - point[0], 0.0, point[0] - box.x1)
    along = max(box.y0 - point[1], 0.0, point[1] - box.y1)
    return math.hypot(across, along)
