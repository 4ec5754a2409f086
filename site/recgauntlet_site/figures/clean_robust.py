"""Clean against robust accuracy under one threat, a marker's area being the training cost, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.figure

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.escape import visible
from recgauntlet.leaderboard.schema import Cell, TaskTable, ThreatColumn
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
from recgauntlet_site.figures.rows import (
    FEW,
    PlottedRow,
    PlottedRows,
    cost_of,
    labels_of,
    most_defended,
    plotted_rows,
    series_entries,
    undefended_row,
)
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

KIND = "clean-robust"


@dataclass(frozen=True, eq=False)
class _Point:
    row: PlottedRow
    cell: Cell

    @property
    def x(self) -> float:
        """Clean accuracy in per cent."""
        return 100 * self.row.row.clean.value

    @property
    def y(self) -> float:
        """Robust accuracy in per cent."""
        return 100 * self.cell.robust.value

    @property
    def cost(self) -> float:
        """Training cost, 1 for the undefended row."""
        return cost_of(self.row.row)


@in_style()
def clean_robust(table: TaskTable, column: ThreatColumn, *, prefix: str = "") -> Figure | None:
    """The rows of a table under one threat at the ranking tier; None where no row has a value.

    Budgets on embeddings are relative to a model's own, so under such a threat rows of several models have no common
    front.
    """
    rows = plotted_rows(table)
    points = [
        _Point(row, cell)
        for row in rows.all
        if (cells := row.row.under(column.id)) is not None and (cell := cells.at(RANKING_TIER)) is not None
    ]
    if not points:
        return None
    comparable = column.surface != "embedding" or len({point.row.row.model.name for point in points}) < 2
    able = [point for point in points if point.row.competes] if comparable and len(points) > 1 else []
    best = [point for point, on in zip(able, front([(p.x, p.y) for p in able]), strict=True) if on]
    with_cost = [point for point, on in zip(able, front([(p.x, p.y, -p.cost) for p in able]), strict=True) if on]
    best.sort(key=lambda point: -point.y)

    def on_front(point: _Point) -> str:
        return "–" if not comparable else "yes" if point in best else "with cost" if point in with_cost else "no"

    return Figure(
        name=figure_name(table, prefix, KIND, column.id),
        kind=KIND,
        threat=column.id,
        title=f"Clean and robust accuracy under {visible(column.id)}",
        description=_describe(points, best, with_cost, column, rows, comparable),
        header=(*HEADER, "clean, %", "95 % interval", "robust, %", "95 % interval", "training FLOPs", "front"),
        rows=tuple(
            (
                *identity(point.row),
                *value_and_interval(point.row.row.clean),
                *value_and_interval(point.cell.robust),
                times(point.row.row.cost.flops_ratio),
                on_front(point),
            )
            for point in points
        ),
        drawing=_draw(points, best, column, rows),
    )


def _describe(
    points: Sequence[_Point],
    best: Sequence[_Point],
    with_cost: Sequence[_Point],
    column: ThreatColumn,
    rows: PlottedRows,
    comparable: bool,
) -> str:
    clean = value_range([point.row.row.clean.value for point in points])
    robust = value_range([point.cell.robust.value for point in points])
    place = f"under {visible(column.id)} at the {RANKING_TIER} tier"
    parts = [f"{counted_rows(points)} {place}: clean accuracy {clean}, robust accuracy {robust}."]
    if best:
        values = [
            f"{p.row.short_name} ({p.x:.1f} % clean, {p.y:.1f} % robust, {times(p.row.row.cost.flops_ratio)})"
            for p in best
        ]
        more = [point.row.short_name for point in with_cost if point not in best]
        parts += [
            f"On the Pareto front of both: {listed(values)}.",
            f"With training cost as the third quantity also: {listed(more)}."
            if more
            else "Training cost as the third quantity adds no row.",
            rows.caution,
        ]
    if not comparable:
        parts.append("No front is drawn: budgets on embeddings may not be compared across models.")
    hollow = sum(point.row.hollow for point in points)
    if hollow:
        parts.append(f"{'All' if hollow == len(points) else hollow} of them unranked, drawn hollow.")
    return " ".join(part for part in parts if part)


def _draw(
    points: Sequence[_Point], best: Sequence[_Point], column: ThreatColumn, rows: PlottedRows
) -> matplotlib.figure.Figure:
    few = len(points) <= FEW
    figure = new_figure(330)
    ax = figure.add_subplot(xlabel="Clean accuracy, %")
    title(ax, f"Robust accuracy under {visible(column.id)}, %")
    for point in sorted(points, key=lambda point: -point.cost):  # small markers above large ones
        colour, clean, robust = point.row.series.colour, point.row.row.clean, point.cell.robust
        if few:
            ax.plot([100 * clean.low, 100 * clean.high], [point.y, point.y], color=colour, lw=0.8)
            ax.plot([point.x, point.x], [100 * robust.low, 100 * robust.high], color=colour, lw=0.8)
        size = _area(point.cost, few)
        ax.add_line(markers([point.x], [point.y], colour, point.row.series.shape, area=size, hollow=point.row.hollow))
    for estimates, least, set_limits in (
        ([point.row.row.clean for point in points], 12.0, ax.set_xlim),
        ([point.cell.robust for point in points], 20.0, ax.set_ylim),
    ):
        values = [100 * value for e in estimates for value in ((e.low, e.high) if few else (e.value,))]
        set_limits(*limits(values, least, 1.0 + 0.06 * (max(values) - min(values))))
    entries = series_entries(rows, [point.row for point in points])
    entries += [(markers([], [], FAINT, "o", area=_area(r, few)), f"{r}× FLOPs") for r in (1, 2, 5)]
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    entries += draw_front(ax, staircase([(p.x, p.y) for p in best], left, bottom), (left, bottom), "Pareto front")
    if bottom < 50 < top:
        entries.append((ax.axhline(50, color=FAINT, lw=0.8, ls=(0, (1.5, 2.5))), "constant predictor"))
    if max(left, bottom) < min(right, top):
        entries.append((ax.axline((50, 50), slope=1, color=FAINT, lw=0.8, ls=(0, (4, 3))), "robust = clean"))
    entries += hollow_entry(any_hollow=any(point.row.hollow for point in points))
    legend(figure, entries, [rows.note, rows.caution if best else ""])
    shown = [point.row for point in points]
    main = undefended_row(shown, most_defended(shown))
    important = [point.row for point in best] + ([main] if main else [])
    lowest = [min(points, key=lambda point: point.y), min(points, key=lambda point: point.x)]
    extremes = [point.row for point in (*lowest, max(points, key=lambda point: point.cost))]
    at = {id(point.row): (point.x, point.y) for point in points}
    label_points(
        ax, [(text, *at[id(row)]) for row, text in labels_of(shown, [*important, *extremes])], list(at.values())
    )
    return figure


def _area(cost: float, few: bool) -> float:
    """The area of a marker in square points: between half and ten times that of the undefended row."""
    return (40.0 if few else 24.0) * min(max(cost, 0.5), 10.0)
