"""Clean against robust accuracy on every ranked task, a marker's area being the training cost: one panel a task."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.figure
from matplotlib.axes import Axes

from recgauntlet.core.names import shown
from recgauntlet.core.spec import TWIN
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet_site.families import DEFENSES, defense_family
from recgauntlet_site.figures.describe import Figure, counted_rows, value_and_interval, value_range
from recgauntlet_site.figures.rows import Point, Series, plotted_rows
from recgauntlet_site.figures.style import (
    FAINT,
    SERIES,
    UNDEFENDED,
    WIDTH,
    fitted,
    in_style,
    legend,
    limits,
    markers,
    new_figure,
)

KIND = "all-tasks"
_COLUMNS = 2
_NOTE = "Vertical: robust accuracy, %, of ranked rows; their worst ranked threat, medium tier. Lines: 95 % intervals."
_PANEL = 150.0
"""Points that a row of panels is high."""


@in_style()
def all_tasks(tables: Sequence[TaskTable]) -> Figure | None:
    """The ranked rows of all ranked tables under the ranked threat that hurts each most, at the medium tier. A task
    without a ranked row is left out; None where there is none.

    A colour is a defense or, where there are more than the palette has, a family of defenses; the same in all panels.
    """
    panels = [(table, points) for table in tables if table.ranked and (points := _points(table))]
    if not panels:
        return None
    series = _series([point.row.row for _, points in panels for point in points])
    rows = [(table, point) for table, points in panels for point in points]
    lines = [
        (table.task, str(point.row.row.rank), point.row.name, point.row.row.worst or "–", *_values(point))
        for table, point in rows
    ]
    drawing = _draw(panels, series)
    width, height = (72 * drawing.get_size_inches()).round().astype(int).tolist()
    return Figure(
        KIND,
        KIND,
        "",
        "Clean and robust accuracy on every task, with the training cost",
        " ".join(_described(table, points) for table, points in panels),
        ("task", "rank", "row", "threat", "clean, %", "95 % interval", "robust, %", "95 % interval", "training FLOPs"),
        tuple(lines),
        (width, height),
        drawing,
    )


def _points(table: TaskTable) -> list[Point]:
    return [Point(row, row.row.worst_cell) for row in plotted_rows(table).all if row.row.rank and row.row.worst_cell]


def _values(point: Point) -> list[str]:
    return [*value_and_interval(point.row.row.clean), *value_and_interval(point.cell.robust), point.cost_text]


def _described(table: TaskTable, points: Sequence[Point]) -> str:
    clean = value_range([point.row.row.clean.value for point in points])
    robust = value_range([point.cell.robust.value for point in points])
    best = max(points, key=lambda point: point.robust)
    return (
        f"{table.task}: {counted_rows(points)}, clean accuracy {clean}, robust accuracy {robust}; most robust is "
        f"{best.row.short_name} at {best.cost_text} the training FLOPs."
    )


def _series(rows: Sequence[Row]) -> dict[str, Series]:
    """The series of each defense by its name: undefended first, then the defenses by name, or by family where these are
    more than the palette has."""
    names = sorted({row.defense.name for row in rows} - {TWIN})
    found = {TWIN: Series(UNDEFENDED, shown("defense", TWIN))}
    if len(names) < SERIES:
        return found | {name: Series(1 + number, name) for number, name in enumerate(names)}
    families = {row.defense.name: defense_family(row.defense) for row in rows if row.defense.name != TWIN}
    return found | {name: Series(list(DEFENSES).index(family), family) for name, family in families.items()}


def _draw(panels: Sequence[tuple[TaskTable, Sequence[Point]]], series: dict[str, Series]) -> matplotlib.figure.Figure:
    columns = min(_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    figure = new_figure(_PANEL * lines + 20)
    axes = figure.subplots(lines, columns, squeeze=False)
    for place, ax in enumerate(axes.flat):
        if place < len(panels):
            _panel(ax, *panels[place], series, WIDTH / columns - 40)
        else:
            ax.set_axis_off()
    for ax in axes.flat[max(0, len(panels) - columns) : len(panels)]:  # the lowest of each column
        ax.set_xlabel("Clean accuracy, %")
    used = {own.number: own for _, points in panels for point in points for own in [series[point.row.row.defense.name]]}
    entries = [(markers([], [], own.colour, own.shape), own.label) for _, own in sorted(used.items())]
    entries += [(markers([], [], FAINT, "o", area=_area(ratio)), f"{ratio}× FLOPs") for ratio in (1, 2, 5)]
    legend(figure, entries, [_NOTE])
    return figure


def _panel(ax: Axes, table: TaskTable, points: Sequence[Point], series: dict[str, Series], room: float) -> None:
    ax.set_title(fitted(table.task, room))
    for point in sorted(points, key=lambda point: -point.cost):
        own, clean, robust = series[point.row.row.defense.name], point.row.row.clean, point.cell.robust
        ax.plot([100 * clean.low, 100 * clean.high], [point.robust] * 2, color=own.colour, lw=0.5, alpha=0.6)
        ax.plot([point.clean] * 2, [100 * robust.low, 100 * robust.high], color=own.colour, lw=0.5, alpha=0.6)
        ax.add_line(markers([point.clean], [point.robust], own.colour, own.shape, area=_area(point.cost)))
    for estimates, set_limits in (
        ([point.row.row.clean for point in points], ax.set_xlim),
        ([point.cell.robust for point in points], ax.set_ylim),
    ):
        set_limits(*limits([100 * value for e in estimates for value in (e.low, e.high)], 8.0, 0.8))


def _area(cost: float) -> float:
    """The area of a marker in square points: between half and ten times that of the undefended row."""
    return 22.0 * min(max(cost, 0.5), 10.0)
