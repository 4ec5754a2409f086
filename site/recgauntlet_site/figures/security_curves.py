"""Accuracy as the budget of a threat grows from nothing to twice its high tier.

Few rows share one panel. Of many, each family has panels of its own, with the undefended row in grey in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.escape import visible
from recgauntlet.leaderboard.schema import CurvePoint, Row, TaskTable, ThreatColumn
from recgauntlet.threats.registry import THREAT_MODELS
from recgauntlet_site.families import MODELS, model_family
from recgauntlet_site.figures.describe import (
    Figure,
    counted_rows,
    figure_of,
    listed,
    not_drawn,
    value_and_interval,
    value_range,
)
from recgauntlet_site.figures.rows import PlottedRow, PlottedRows, Series, most_defended, plotted_rows, undefended_row
from recgauntlet_site.figures.style import FAINT, LINE, UNDEFENDED, WIDTH, fitted, in_style, legend, new_figure
from recgauntlet_site.format import percent

KIND = "security-curves"
MOST_LINES = 6
"""Lines of a panel, the undefended row in grey not counted."""
MOST_PANELS = 12
_MOST_BANDS = 3
"""Lines up to which a panel shows their intervals: more bands hide each other."""
_HIGH, _HIGH_ALONE = 86.0, 210.0
"""Points that a panel is high, one of several and one by itself."""


Budget = tuple[float, int]
"""The amount and the characters of a budget."""


@dataclass(frozen=True)
class CurveGrid:
    """The security curves of a table under one threat: the `budgets` of all of them, rising, and the rows that have a
    curve, each with its points by budget."""

    threat: ThreatColumn
    budgets: list[Budget]
    curves: list[tuple[Row, dict[Budget, CurvePoint]]]

    @property
    def by_characters(self) -> bool:
        """Whether the budgets count characters alone."""
        return not any(amount for amount, _ in self.budgets)

    @property
    def axis(self) -> str:
        """What the budgets count."""
        return THREAT_MODELS[self.threat.surface].axis(self.by_characters)

    def x(self, budget: Budget) -> float:
        """Where a budget is on the axis."""
        return float(budget[self.by_characters])


def curve_grid(table: TaskTable, threat: ThreatColumn) -> CurveGrid:
    """The curves of a table's rows under a threat."""
    curves = [
        (row, {(point.amount, point.characters): point for point in cells.curve})
        for row in table.rows
        if (cells := row.under(threat.id)) is not None and cells.curve
    ]
    return CurveGrid(threat, sorted({budget for _, points in curves for budget in points}), curves)


@dataclass(frozen=True, eq=False)
class _Curve:
    row: PlottedRow
    points: dict[Budget, CurvePoint]

    @property
    def accuracies(self) -> list[float]:
        return [100 * point.accuracy.value for point in self.points.values()]


@dataclass(frozen=True)
class _Panel:
    title: str
    undefended: _Curve | None
    curves: Sequence[_Curve]


@in_style()
def security_curves(table: TaskTable, column: ThreatColumn, *, prefix: str = "") -> Figure | None:
    """The curves of a table's rows under one threat; None where no row has one."""
    rows = plotted_rows(table)
    grid = curve_grid(table, column)
    if not grid.curves:
        return None
    by_row = {id(row.row): row for row in rows.all}
    curves = [_Curve(by_row[id(row)], points) for row, points in grid.curves]
    amount_text = THREAT_MODELS[column.surface].amount_text
    return figure_of(
        table,
        KIND,
        prefix=prefix,
        threat=column.id,
        title=f"Security curves under {visible(column.id)}",
        description=_describe(curves, grid),
        header=[f"{amount_text(*budget)}, %" for budget in grid.budgets],
        rows=[(curve.row, [_value(curve.points.get(budget)) for budget in grid.budgets]) for curve in curves],
        drawing=_draw(curves, rows, grid),
    )


def _value(point: CurvePoint | None) -> str:
    return "–" if point is None else "{} ({})".format(*value_and_interval(point.accuracy))


def _describe(curves: Sequence[_Curve], grid: CurveGrid) -> str:
    starts, ends = (value_range([curve.accuracies[end] / 100 for curve in curves]) for end in (0, -1))
    parts = [
        f"{counted_rows(curves)}, accuracy against the budget ({grid.axis}) under {visible(grid.threat.id)}: from "
        f"{starts} at 0 to {ends} at the largest budget."
    ]
    standard = [(budget.amount, budget.characters) for budget in grid.threat.budgets if budget.tier == RANKING_TIER]
    at = [
        (curve.points[budget].accuracy.value, curve.row.short_name)
        for curve in curves
        for budget in standard
        if budget in curve.points
    ]
    if len(at) > 1:
        (low, lowest), (high, highest) = min(at), max(at)
        parts.append(
            f"At the medium tier {highest} keeps most, {percent(high)} %, and {lowest} least, {percent(low)} %."
        )
    flat = [curve.row.short_name for curve in curves if len(curve.points) > 1 and not _falls(curve)]
    if flat:
        parts.append(f"A curve that stays flat points to a failing attack: {listed(flat)}.")
    return " ".join(parts)


def _falls(curve: _Curve) -> bool:
    first, *_, last = curve.accuracies
    return last < first or first == 0


def _panels(curves: Sequence[_Curve], rows: PlottedRows) -> list[_Panel]:
    """Panels of at most MOST_LINES: undefended models by family, then defenses by family. Each shows the undefended row
    of its model; among undefended models that is the row of the most defended one."""
    if len(curves) <= MOST_LINES:
        return [_Panel("", None, curves)]
    by_row = {id(curve.row): curve for curve in curves}
    groups: dict[str, list[_Curve]] = {}
    undefended = [curve for curve in curves if curve.row.undefended]
    for curve in sorted(undefended, key=lambda curve: list(MODELS).index(model_family(curve.row.row.model))):
        groups.setdefault(f"{model_family(curve.row.row.model)} models", []).append(curve)
    defended = [curve for curve in curves if not curve.row.undefended]
    for curve in sorted(defended, key=lambda curve: curve.row.series.number):
        model = visible(curve.row.row.model.name)
        groups.setdefault(curve.row.series.label if rows.by_family else f"defenses on {model}", []).append(curve)
    panels = []
    for title, members in groups.items():
        main = undefended_row(rows.all, most_defended([curve.row for curve in members]) or most_defended(rows.all))
        grey = by_row.get(id(main)) if main is not None else None
        others = [curve for curve in members if curve is not grey]
        parts = -(-len(others) // MOST_LINES)
        size = -(-len(others) // max(parts, 1))
        for part in range(parts):
            name = f"{title} ({part + 1} of {parts})" if parts > 1 else title
            panels.append(_Panel(name, grey, others[part * size : (part + 1) * size]))
    return panels


def _draw(curves: Sequence[_Curve], rows: PlottedRows, grid: CurveGrid) -> matplotlib.figure.Figure:
    panels = _panels(curves, rows)
    shown, left_out = panels[:MOST_PANELS], panels[MOST_PANELS:]
    high = _HIGH_ALONE if len(shown) == 1 else _HIGH + LINE + 14
    figure = new_figure(50 + high * len(shown))
    figure.suptitle(fitted(f"Accuracy under {visible(grid.threat.id)}, %", WIDTH - 10), x=0.0, ha="left", size="medium")
    axes = figure.subplots(len(shown), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for ax, panel in zip(axes, shown, strict=True):
        _draw_panel(ax, panel, grid)
    axes[-1].set(ylim=(0, 102), yticks=(0, 50, 100))
    axes[-1].set_xlabel(grid.axis.capitalize(), loc="left")
    axes[-1].xaxis.set_major_locator(MaxNLocator(5, integer=THREAT_MODELS[grid.threat.surface].is_discrete))
    grey = list(dict.fromkeys(panel.undefended.row.label for panel in shown if panel.undefended is not None))
    legend(
        figure,
        [],
        [
            f"Grey: {listed(grey)}, undefended." if grey else "",
            "Dotted: the low, standard and high budget.",
            rows.note,
            not_drawn([curve.row for panel in left_out for curve in panel.curves]),
        ],
    )
    return figure


def _draw_panel(ax: Axes, panel: _Panel, grid: CurveGrid) -> None:
    ax.set_title(fitted(panel.title, 250))
    ax.margins(x=0.01)
    for budget in grid.threat.budgets:
        ax.axvline(grid.x((budget.amount, budget.characters)), color=FAINT, lw=0.7, ls=(0, (1, 2.5)))
    if panel.undefended is not None:
        ax.plot(_xs(grid, panel.undefended), panel.undefended.accuracies, color=Series(UNDEFENDED, "").colour)
    numbers = [curve.row.series.number for curve in panel.curves]
    distinct = panel.undefended is None and len(set(numbers)) == len(numbers)
    handles = []
    for place, curve in enumerate(panel.curves):
        series = curve.row.series if distinct else Series(place + (panel.undefended is not None), "")
        (line,) = ax.plot(_xs(grid, curve), curve.accuracies, color=series.colour, ls=series.dashes, ms=4.5)
        line.set_marker(series.shape)
        handles.append(line)
        if len(panel.curves) <= _MOST_BANDS and panel.undefended is None:
            low, high = ([100 * getattr(p.accuracy, end) for p in curve.points.values()] for end in ("low", "high"))
            ax.fill_between(_xs(grid, curve), low, high, color=series.colour, alpha=0.12, lw=0)
    labels = [fitted(curve.row.label) for curve in panel.curves]
    ax.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.08), handlelength=2.2)


def _xs(grid: CurveGrid, curve: _Curve) -> list[float]:
    return [grid.x(budget) for budget in curve.points]
