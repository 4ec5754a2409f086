"""How far apart the trainings of a row are: every seed's accuracy, clean and under the worst ranked threat."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.figure

from recgauntlet.core.escape import visible
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet_site.figures.describe import Figure, counted_rows, figure_of, not_drawn, value_and_interval
from recgauntlet_site.figures.rows import PlottedRow, PlottedRows, plotted_rows
from recgauntlet_site.figures.style import LIGHT, in_style, legend, limits, markers, name_rows, new_figure
from recgauntlet_site.format import joined, percent

KIND = "seed-spread"
MOST_ROWS = 60
_AREA = 14.0
"""The area of a marker in square points."""
_HIGH = 20.0
"""Points that a row is high."""
_CLEAN, _ROBUST = (LIGHT[0], "o", -0.2, "clean"), (LIGHT[1], "D", 0.2, "robust under the worst ranked threat")
"""Colour, marker, distance from the middle of the row, and label."""
_Values = tuple[Estimate | None, tuple[float, ...]]
"""The mean of a row with its interval, and the value of each seed."""


@in_style()
def seed_spread(table: TaskTable, *, prefix: str = "") -> Figure | None:
    """Rows in the table's order, at most MOST_ROWS of them; None where the table has no row."""
    rows = plotted_rows(table)
    if not rows.all:
        return None
    return figure_of(
        table,
        KIND,
        prefix=prefix,
        title="The seeds of every row",
        description=_describe(rows.all),
        header=(
            *("seeds", "clean by seed, %", "clean, %", "95 % interval"),
            *("worst threat", "robust by seed, %", "robust, %", "95 % interval"),
        ),
        rows=[(row, _data(row)) for row in rows.all],
        drawing=_draw(rows),
    )


def _robust(row: PlottedRow) -> _Values:
    cell = row.row.worst_cell
    return (None, ()) if cell is None else (cell.robust, cell.by_seed)


def _data(row: PlottedRow) -> tuple[str, ...]:
    robust, by_seed = _robust(row)
    return (
        ", ".join(map(str, row.row.seeds)),
        ", ".join(map(percent, row.row.clean_by_seed)),
        *value_and_interval(row.row.clean),
        visible(row.row.worst or "–"),
        ", ".join(map(percent, by_seed)),
        *(("not run", "") if robust is None else value_and_interval(robust)),
    )


def _describe(rows: Sequence[PlottedRow]) -> str:
    text = f"{counted_rows(rows)} with each seed’s clean accuracy and accuracy under the worst ranked threat."
    widest = []
    for quantity, by_seed in (
        ("clean", [(row.short_name, row.row.clean_by_seed) for row in rows]),
        ("robust", [(row.short_name, _robust(row)[1]) for row in rows]),
    ):
        spans = [(max(values) - min(values), name) for name, values in by_seed if len(values) > 1]
        if spans:
            span, name = max(spans)
            widest.append(f"{100 * span:.1f} points in {quantity} accuracy ({name})")
    if widest:
        text += f" Seeds of one row differ by up to {joined(widest)}."
    single = sum(len(row.row.seeds) < 2 for row in rows)
    if single:
        text += f" {'One row has' if single == 1 else f'{single} rows have'} one seed only, so no spread is known."
    return text


def _draw(rows: PlottedRows) -> matplotlib.figure.Figure:
    shown = rows.all[:MOST_ROWS]
    figure = new_figure(40 + _HIGH * len(shown))
    ax = figure.add_subplot(xlabel="Accuracy, %")
    clean: list[_Values] = [(row.row.clean, row.row.clean_by_seed) for row in shown]
    quantities = [(_CLEAN, clean)]
    if any(_robust(row)[0] for row in shown):
        quantities.append((_ROBUST, [_robust(row) for row in shown]))
    ends: list[float] = []
    for (colour, shape, offset, _), values in quantities:
        for place, (estimate, by_seed) in enumerate(values):
            if estimate is not None:
                y = place + offset
                ax.plot([100 * estimate.low, 100 * estimate.high], [y, y], color=colour, lw=1.0)
                ax.plot([100 * estimate.value], [y], ls="none", marker="|", ms=8, mec=colour, mew=1.3)
                ax.add_line(markers([100 * v for v in by_seed], [y] * len(by_seed), colour, shape, area=_AREA))
                ends += [100 * estimate.low, 100 * estimate.high]
    ax.set_xlim(*limits(ends, 10.0, 2.0))
    name_rows(ax, [(row.label, row.hollow) for row in shown])
    ax.grid(axis="x")
    handles = [(markers([], [], colour, shape, area=_AREA), label) for (colour, shape, _, label), _ in quantities]
    what = "A marker is a seed, the stroke their mean, the line its 95 % interval."
    legend(figure, handles, [what, rows.note, not_drawn(rows.all[MOST_ROWS:])])
    return figure
