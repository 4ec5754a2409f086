"""Robust accuracy under the worst ranked threat against training cost, each row joined to its clean accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from recgauntlet.core.escape import visible
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet_site.figures.describe import Figure, counted_rows, figure_of, listed, value_and_interval, value_range
from recgauntlet_site.figures.pareto import staircase
from recgauntlet_site.figures.rows import PlottedRows, Point, best_of, label_rows, plotted_rows, series_entries
from recgauntlet_site.figures.style import (
    FAINT,
    draw_front,
    hollow_entry,
    in_style,
    legend,
    limits,
    markers,
    new_figure,
    title,
)

KIND = "accuracy-cost"
_MOST_JOINED = 60
"""Rows up to which each is joined to its clean accuracy: more lines hide each other."""


@in_style()
def accuracy_cost(table: TaskTable, *, prefix: str = "") -> Figure | None:
    """What a defense costs to train (FLOPs relative to the undefended row) and what it buys.

    Models without a defended row are left out, for their cost is 1 by definition, and so are rows without a value under
    a ranked threat. None where no defended row is left.
    """
    rows = plotted_rows(table)
    defended = {row.row.model.name for row in rows.all if not row.undefended}
    points = [
        Point(row, cell)
        for row in rows.all
        if row.row.model.name in defended and (cell := row.row.worst_cell) is not None
    ]
    if all(point.row.undefended for point in points):
        return None
    best = sorted(best_of(points, lambda point: (-point.cost, point.robust)), key=lambda point: point.cost)
    return figure_of(
        table,
        KIND,
        prefix=prefix,
        title="Accuracy and training cost",
        description=_describe(points, best, rows),
        header=("training FLOPs", "worst threat", "robust, %", "95 % interval", "clean, %", "95 % interval"),
        rows=[(point.row, _values(point)) for point in points],
        drawing=_draw(points, best, rows),
    )


def _values(point: Point) -> list[str]:
    row = point.row.row
    threat = visible(row.worst or "–")
    return [point.cost_text, threat, *value_and_interval(point.cell.robust), *value_and_interval(row.clean)]


def _describe(points: Sequence[Point], best: Sequence[Point], rows: PlottedRows) -> str:
    expensive = max(points, key=lambda point: point.cost)
    robust = value_range([point.cell.robust.value for point in points])
    parts = [
        f"{counted_rows(points)} by training FLOPs relative to the undefended row: robust accuracy {robust}; the most "
        f"expensive is {expensive.row.short_name} at {expensive.cost_text}."
    ]
    if best:
        values = [f"{point.row.short_name} ({point.robust:.1f} % at {point.cost_text})" for point in best]
        parts += [f"The most robust up to a cost: {listed(values)}.", rows.caution]
    return " ".join(part for part in parts if part)


def _draw(points: Sequence[Point], best: Sequence[Point], rows: PlottedRows) -> matplotlib.figure.Figure:
    figure = new_figure(380)
    ax = figure.add_subplot(xlabel="Training FLOPs, relative to the undefended row", xscale="log")
    title(ax, "Robust accuracy under the worst ranked threat, %")
    costs = [point.cost for point in points]
    ax.set_xlim(min(0.85, min(costs) / 1.15), max(2.2, max(costs) * 1.3))
    ax.set_ylim(*limits([value for point in points for value in (point.robust, point.clean)], 20.0, 4.0))
    narrow = max(costs) < 20 * min(costs)
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5)) if narrow else LogLocator(numticks=6))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}×"))
    ax.axvline(1, color=FAINT, lw=0.7, ls=(0, (1, 2.5)))
    (_, right), (bottom, _) = ax.get_xlim(), ax.get_ylim()
    edge = [(-x, y) for x, y in staircase([(-point.cost, point.robust) for point in best], -right, bottom)]
    front_entry = draw_front(ax, edge, (right, bottom), "best up to a cost")
    few = len(points) <= _MOST_JOINED
    for point in points:
        colour = point.row.series.colour
        if few:
            ax.plot([point.cost, point.cost], [point.robust, point.clean], color=colour, lw=0.7)
            ax.plot([point.cost], [point.clean], ls="none", marker="_", ms=7, mec=colour, mew=1.8)
        ax.add_line(markers([point.cost], [point.robust], colour, point.row.series.shape, hollow=point.row.hollow))
    clean = Line2D([], [], ls="none", marker="_", ms=7, mec=FAINT, mew=1.8)
    shown = [point.row for point in points]
    entries = [
        *series_entries(rows, shown),
        *([(clean, "clean accuracy")] if few else []),
        *front_entry,
        *hollow_entry(any_hollow=any(row.hollow for row in shown)),
    ]
    legend(figure, entries, [rows.note, rows.caution if best else ""])
    expensive = sorted(points, key=lambda point: -point.cost)[:4]
    extremes = [min(points, key=lambda point: point.robust), max(points, key=lambda point: point.robust)]
    label_rows(ax, [(point, point.cost, point.robust) for point in points], [*best, *expensive, *extremes])
    return figure
