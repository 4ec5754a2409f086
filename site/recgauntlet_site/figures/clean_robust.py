"""Clean against robust accuracy under one threat, a marker's area being the training cost, with the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.figure

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.escape import visible
from recgauntlet.core.names import shown
from recgauntlet.leaderboard.schema import TaskTable, ThreatColumn
from recgauntlet.threats.registry import THREAT_MODELS
from recgauntlet_site.figures.describe import Figure, counted_rows, figure_of, listed, value_and_interval, value_range
from recgauntlet_site.figures.pareto import staircase
from recgauntlet_site.figures.rows import (
    FEW,
    PlottedRows,
    Point,
    best_of,
    label_rows,
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
    legend,
    limits,
    markers,
    new_figure,
    title,
)

KIND = "clean-robust"


@in_style()
def clean_robust(table: TaskTable, column: ThreatColumn, *, prefix: str = "") -> Figure | None:
    """The rows of a table under one threat at the ranking tier; None where no row has a value.

    Budgets on embeddings are relative to a model's own, so under such a threat rows of several models have no common
    front.
    """
    rows = plotted_rows(table)
    points = [Point(row, cell) for row in rows.all if (cell := row.row.at(column.id)) is not None]
    if not points:
        return None
    across_models = len({point.row.row.model.name for point in points}) > 1
    comparable = THREAT_MODELS[column.surface].is_discrete or not across_models
    rivals = points if comparable else []
    best = sorted(best_of(rivals, lambda point: (point.clean, point.robust)), key=lambda point: -point.robust)
    with_cost = best_of(rivals, lambda point: (point.clean, point.robust, -point.cost))

    def on_front(point: Point) -> str:
        return "–" if not comparable else "yes" if point in best else "with cost" if point in with_cost else "no"

    return figure_of(
        table,
        KIND,
        prefix=prefix,
        threat=column.id,
        title=f"Clean and robust accuracy under {visible(column.id)}",
        description=_describe(points, best, with_cost, column, rows, comparable),
        header=("clean, %", "95 % interval", "robust, %", "95 % interval", "training FLOPs", "front"),
        rows=[(point.row, [*_values(point), on_front(point)]) for point in points],
        drawing=_draw(points, best, column, rows),
    )


def _values(point: Point) -> list[str]:
    return [*value_and_interval(point.row.row.clean), *value_and_interval(point.cell.robust), point.cost_text]


def _describe(
    points: Sequence[Point],
    best: Sequence[Point],
    with_cost: Sequence[Point],
    column: ThreatColumn,
    rows: PlottedRows,
    comparable: bool,
) -> str:
    clean = value_range([point.row.row.clean.value for point in points])
    robust = value_range([point.cell.robust.value for point in points])
    place = f"under {visible(column.id)} at the {shown('tier', RANKING_TIER)} tier"
    parts = [f"{counted_rows(points)} {place}: clean accuracy {clean}, robust accuracy {robust}."]
    if best:
        values = [f"{p.row.short_name} ({p.clean:.1f} % clean, {p.robust:.1f} % robust, {p.cost_text})" for p in best]
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
    points: Sequence[Point], best: Sequence[Point], column: ThreatColumn, rows: PlottedRows
) -> matplotlib.figure.Figure:
    few = len(points) <= FEW
    figure = new_figure(380)
    ax = figure.add_subplot(xlabel="Clean accuracy, %")
    title(ax, f"Robust accuracy under {visible(column.id)}, %")
    for point in sorted(points, key=lambda point: -point.cost):  # small markers above large ones
        colour, clean, robust = point.row.series.colour, point.row.row.clean, point.cell.robust
        if few:
            ax.plot([100 * clean.low, 100 * clean.high], [point.robust, point.robust], color=colour, lw=0.8)
            ax.plot([point.clean, point.clean], [100 * robust.low, 100 * robust.high], color=colour, lw=0.8)
        shape, area = point.row.series.shape, _area(point.cost, few)
        ax.add_line(markers([point.clean], [point.robust], colour, shape, area=area, hollow=point.row.hollow))
    for estimates, least, set_limits in (
        ([point.row.row.clean for point in points], 12.0, ax.set_xlim),
        ([point.cell.robust for point in points], 20.0, ax.set_ylim),
    ):
        values = [100 * value for e in estimates for value in ((e.low, e.high) if few else (e.value,))]
        set_limits(*limits(values, least, 1.0 + 0.06 * (max(values) - min(values))))
    entries = series_entries(rows, [point.row for point in points])
    entries += [(markers([], [], FAINT, "o", area=_area(r, few)), f"{r}× FLOPs") for r in (1, 2, 5)]
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    edge = staircase([(point.clean, point.robust) for point in best], left, bottom)
    entries += draw_front(ax, edge, (left, bottom), "Pareto front")
    if bottom < 50 < top:
        entries.append((ax.axhline(50, color=FAINT, lw=0.8, ls=(0, (1.5, 2.5))), "constant predictor"))
    if max(left, bottom) < min(right, top):
        entries.append((ax.axline((50, 50), slope=1, color=FAINT, lw=0.8, ls=(0, (4, 3))), "robust = clean"))
    entries += hollow_entry(any_hollow=any(point.row.hollow for point in points))
    legend(figure, entries, [rows.note, rows.caution if best else ""])
    main = undefended_row([point.row for point in points], most_defended([point.row for point in points]))
    important = [*best, *(point for point in points if point.row is main)]
    important += [min(points, key=lambda point: point.robust), min(points, key=lambda point: point.clean)]
    important += [max(points, key=lambda point: point.cost)]
    label_rows(ax, [(point, point.clean, point.robust) for point in points], important)
    return figure


def _area(cost: float, few: bool) -> float:
    """The area of a marker in square points: between half and ten times that of the undefended row."""
    return (40.0 if few else 24.0) * min(max(cost, 0.5), 10.0)
