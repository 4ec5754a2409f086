"""Robust accuracy under the worst ranked threat against training cost, each row joined to its clean accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from recgauntlet.core.escape import visible
from recgauntlet.leaderboard.schema import Cell, TaskTable
from recgauntlet_site.figures.describe import (
    HEADER,
    Figure,
    counted_rows,
    figure_name,
    identity,
    listed,
    value_and_interval,
    value_range,
)
from recgauntlet_site.figures.pareto import front, staircase
from recgauntlet_site.figures.rows import PlottedRow, PlottedRows, cost_of, labels_of, plotted_rows, series_entries
from recgauntlet_site.figures.style import (
    FAINT,
    draw_front,
    hollow_entry,
    in_style,
    label_points,
    legend,
    limits,
    markers,
    new_figure,
    title,
)
from recgauntlet_site.format import times

KIND = "accuracy-cost"
_MOST_JOINED = 60
"""Rows up to which each is joined to its clean accuracy: more lines hide each other."""
_CHEAPEST, _MOST_EXPENSIVE = 1e-3, 1e5
"""The ends of the longest axis; a row beyond them is drawn at its edge."""


@dataclass(frozen=True, eq=False)
class _Point:
    row: PlottedRow
    cell: Cell

    @property
    def x(self) -> float:
        """Training cost, 1 for the undefended row."""
        return min(max(cost_of(self.row.row), _CHEAPEST), _MOST_EXPENSIVE)

    @property
    def y(self) -> float:
        """Robust accuracy in per cent."""
        return 100 * self.cell.robust.value


@in_style()
def accuracy_cost(table: TaskTable, *, prefix: str = "") -> Figure | None:
    """What a defense costs to train (FLOPs relative to the undefended row) and what it buys.

    Models without a defended row are left out, for their cost is 1 by definition, and so are rows without a value under
    a ranked threat. None where no defended row is left.
    """
    rows = plotted_rows(table)
    defended = {row.row.model.name for row in rows.all if not row.undefended}
    points = [
        _Point(row, cell)
        for row in rows.all
        if row.row.model.name in defended and (cell := row.row.worst_cell) is not None
    ]
    if all(point.row.undefended for point in points):
        return None
    able = [point for point in points if point.row.competes] if len(points) > 1 else []
    best = [point for point, on in zip(able, front([(-p.x, p.y) for p in able]), strict=True) if on]
    best.sort(key=lambda point: point.x)
    return Figure(
        name=figure_name(table, prefix, KIND),
        kind=KIND,
        threat="",
        title="Accuracy and training cost",
        description=_describe(points, best, rows),
        header=(*HEADER, "training FLOPs", "worst threat", "robust, %", "95 % interval", "clean, %", "95 % interval"),
        rows=tuple(
            (
                *identity(point.row),
                times(point.row.row.cost.flops_ratio),
                visible(point.row.row.worst or "–"),
                *value_and_interval(point.cell.robust),
                *value_and_interval(point.row.row.clean),
            )
            for point in points
        ),
        drawing=_draw(points, best, rows),
    )


def _describe(points: Sequence[_Point], best: Sequence[_Point], rows: PlottedRows) -> str:
    expensive = max(points, key=lambda point: cost_of(point.row.row)).row
    robust = value_range([point.cell.robust.value for point in points])
    parts = [
        f"{counted_rows(points)} by training FLOPs relative to the undefended row: robust accuracy {robust}; the most "
        f"expensive is {expensive.short_name} at {times(expensive.row.cost.flops_ratio)}."
    ]
    if best:
        values = [f"{p.row.short_name} ({p.y:.1f} % at {times(p.row.row.cost.flops_ratio)})" for p in best]
        parts += [f"The most robust up to a cost: {listed(values)}.", rows.caution]
    return " ".join(part for part in parts if part)


def _draw(points: Sequence[_Point], best: Sequence[_Point], rows: PlottedRows) -> matplotlib.figure.Figure:
    figure = new_figure(330)
    ax = figure.add_subplot(xlabel="Training FLOPs, relative to the undefended row", xscale="log")
    title(ax, "Robust accuracy under the worst ranked threat, %")
    costs = [point.x for point in points]
    ax.set_xlim(min(0.85, min(costs) / 1.15), max(2.2, max(costs) * 1.3))
    ax.set_ylim(*limits([v for p in points for v in (p.y, 100 * p.row.row.clean.value)], 20.0, 4.0))
    narrow = max(costs) < 20 * min(costs)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5)) if narrow else LogLocator(numticks=6))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    ax.axvline(1, color=FAINT, lw=0.7, ls=(0, (1, 2.5)))
    (_, right), (bottom, _) = ax.get_xlim(), ax.get_ylim()
    edge = [(-x, y) for x, y in staircase([(-point.x, point.y) for point in best], -right, bottom)]
    entries = draw_front(ax, edge, (right, bottom), "best up to a cost")
    shown = [point.row for point in points]
    expensive = [point.row for point in sorted(points, key=lambda point: -point.x)[:4]]
    extremes = [min(points, key=lambda point: point.y).row, max(points, key=lambda point: point.y).row]
    labels = labels_of(shown, [*(point.row for point in best), *expensive, *extremes])
    named = {id(row) for row, _ in labels}
    for point in points:
        colour, clean = point.row.series.colour, 100 * point.row.row.clean.value
        if len(points) <= _MOST_JOINED or id(point.row) in named:
            ax.plot([point.x, point.x], [point.y, clean], color=colour, lw=0.7)
            ax.plot([point.x], [clean], ls="none", marker="_", ms=7, mec=colour, mew=1.8)
        ax.add_line(markers([point.x], [point.y], colour, point.row.series.shape, hollow=point.row.hollow))
    entries = [
        *series_entries(rows, shown),
        (Line2D([], [], ls="none", marker="_", ms=7, mec=FAINT, mew=1.8), "clean accuracy"),
        *entries,
        *hollow_entry(any_hollow=any(row.hollow for row in shown)),
    ]
    some = "Clean accuracy is drawn for rows with a label only." if len(points) > _MOST_JOINED else ""
    legend(figure, entries, [rows.note, rows.caution if best else "", some])
    at = {id(point.row): (point.x, point.y) for point in points}
    label_points(ax, [(text, *at[id(row)]) for row, text in labels], list(at.values()))
    return figure
