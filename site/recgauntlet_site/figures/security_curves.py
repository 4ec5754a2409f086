"""Accuracy as the budget of a threat grows from nothing to twice its high tier.

Few rows share one panel. Of many, each family has panels of its own, with the undefended row in grey in each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from recgauntlet.core.escape import visible
from recgauntlet.leaderboard.schema import CurvePoint, TaskTable, ThreatColumn
from recgauntlet_site.curves import Budget, axis, budgets, point_at
from recgauntlet_site.families import MODEL_FAMILIES, model_family
from recgauntlet_site.figures.describe import (
    HEADER,
    Figure,
    counted_rows,
    figure_name,
    identity,
    listed,
    not_drawn,
    value_and_interval,
    value_range,
)
from recgauntlet_site.figures.rows import (
    PlottedRow,
    PlottedRows,
    Series,
    most_defended,
    plotted_rows,
    undefended_row,
)
from recgauntlet_site.figures.style import (
    FAINT,
    LINE,
    UNDEFENDED,
    fitted,
    in_style,
    legend,
    new_figure,
)
from recgauntlet_site.format import percent

KIND = "security-curves"
MOST_LINES = 6
"""Lines of a panel, the undefended row in grey not counted."""
MOST_PANELS = 12
_MOST_BANDS = 3
"""Lines up to which a panel shows their intervals: more bands hide each other."""
_HIGH, _HIGH_ALONE = 86.0, 210.0
"""Points that a panel is high, one of several and one by itself."""


@dataclass(frozen=True, eq=False)
class _Curve:
    row: PlottedRow
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class _Panel:
    title: str
    undefended: _Curve | None
    curves: tuple[_Curve, ...]


@in_style()
def security_curves(table: TaskTable, column: ThreatColumn, *, prefix: str = "") -> Figure | None:
    """The curves of a table's rows under one threat; None where no row has one."""
    rows = plotted_rows(table)
    curves = [
        _Curve(row, cells.curve) for row in rows.all if (cells := row.row.under(column.id)) is not None and cells.curve
    ]
    if not curves:
        return None
    steps = budgets(table, column)
    return Figure(
        name=figure_name(table, prefix, KIND, column.id),
        kind=KIND,
        threat=column.id,
        title=f"Security curves under {visible(column.id)}",
        description=_describe(curves, column),
        header=(*HEADER, *(_budget_name(step, column) for step in steps)),
        rows=tuple((*identity(curve.row), *_data(curve, steps)) for curve in curves),
        drawing=_draw(curves, rows, column),
    )


def _budget_name(step: Budget, column: ThreatColumn) -> str:
    if column.surface == "candidate-text" and step.characters:
        words = f"{step.amount:g} words or " if step.amount else ""
        return f"{words}{step.characters} characters, %"
    unit = {"embedding": "", "history": " items", "candidate-text": " words"}[column.surface]
    return f"{step.amount:g}{unit}, %"


def _data(curve: _Curve, steps: Sequence[Budget]) -> list[str]:
    points = [point_at(curve.points, step) for step in steps]
    return ["–" if point is None else "{} ({})".format(*value_and_interval(point.accuracy)) for point in points]


def _by_characters(curves: Sequence[_Curve]) -> bool:
    return not any(point.amount for curve in curves for point in curve.points)


def _describe(curves: Sequence[_Curve], column: ThreatColumn) -> str:
    unit = axis(column, _by_characters(curves))
    starts, ends = (value_range([curve.points[end].accuracy.value for curve in curves]) for end in (0, -1))
    parts = [
        f"{counted_rows(curves)}, accuracy against the budget ({unit}) under {visible(column.id)}: from {starts} at 0 "
        f"to {ends} at the largest budget."
    ]
    tier = next((budget for budget in column.budgets if budget.tier == "standard"), None)
    at = [
        (point.accuracy.value, curve.row.short_name)
        for curve in curves
        for point in curve.points
        if tier is not None and (point.amount, point.characters) == (tier.amount, tier.characters)
    ]
    if len(at) > 1:
        (low, lowest), (high, highest) = min(at), max(at)
        parts.append(
            f"At the standard tier {highest} keeps most, {percent(high)} %, and {lowest} least, {percent(low)} %."
        )
    flat = [curve.row.short_name for curve in curves if len(curve.points) > 1 and not _falls(curve)]
    if flat:
        parts.append(f"A curve that stays flat points to a failing attack: {listed(flat)}.")
    return " ".join(parts)


def _falls(curve: _Curve) -> bool:
    first, last = curve.points[0].accuracy.value, curve.points[-1].accuracy.value
    return last < first or first == 0


def _panels(curves: Sequence[_Curve], rows: PlottedRows) -> list[_Panel]:
    """Panels of at most MOST_LINES: undefended models by family, then defenses by family. Each shows the undefended row
    of its model; among undefended models that is the row of the most defended one."""
    if len(curves) <= MOST_LINES:
        return [_Panel("", None, tuple(curves))]
    by_row = {id(curve.row): curve for curve in curves}
    groups: dict[str, list[_Curve]] = {}
    undefended = [curve for curve in curves if curve.row.undefended]
    for curve in sorted(undefended, key=lambda curve: MODEL_FAMILIES.index(model_family(curve.row.row.model))):
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
            panels.append(_Panel(name, grey, tuple(others[part * size : (part + 1) * size])))
    return panels


def _draw(curves: Sequence[_Curve], rows: PlottedRows, column: ThreatColumn) -> matplotlib.figure.Figure:
    by_characters = _by_characters(curves)
    panels = _panels(curves, rows)
    shown, left_out = panels[:MOST_PANELS], panels[MOST_PANELS:]
    high = _HIGH_ALONE if len(shown) == 1 else _HIGH + LINE + 14
    figure = new_figure(50 + high * len(shown))
    figure.suptitle(fitted(f"Accuracy under {visible(column.id)}, %", 390), x=0.0, ha="left", size="medium")
    grid = figure.subplots(len(shown), 1, sharex=True, sharey=True, squeeze=False)
    for ax, panel in zip(grid[:, 0], shown, strict=True):
        _draw_panel(ax, panel, column, by_characters)
    bottom = grid[-1, 0]
    bottom.set(
        ylim=(0, 102),
        yticks=(0, 50, 100),
    )
    bottom.set_xlabel(axis(column, by_characters).capitalize(), loc="left")
    bottom.xaxis.set_major_locator(MaxNLocator(5, integer=column.surface != "embedding"))
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


def _draw_panel(ax: Axes, panel: _Panel, column: ThreatColumn, by_characters: bool) -> None:
    def xs(curve: _Curve) -> list[float]:
        return [point.characters if by_characters else point.amount for point in curve.points]

    ax.set_title(fitted(panel.title, 250))
    ax.margins(x=0.01)
    for budget in column.budgets:
        ax.axvline(budget.characters if by_characters else budget.amount, color=FAINT, lw=0.7, ls=(0, (1, 2.5)))
    if panel.undefended is not None:
        accuracies = [100 * point.accuracy.value for point in panel.undefended.points]
        ax.plot(xs(panel.undefended), accuracies, color=Series(UNDEFENDED, "").colour)
    numbers = [curve.row.series.number for curve in panel.curves]
    distinct = panel.undefended is None and len(set(numbers)) == len(numbers)
    handles = []
    for place, curve in enumerate(panel.curves):
        series = curve.row.series if distinct else Series(place + (panel.undefended is not None), "")
        handles += ax.plot(
            xs(curve),
            [100 * point.accuracy.value for point in curve.points],
            color=series.colour,
            ls=series.dashes,
            marker=series.shape,
            ms=4.5,
        )
        if len(panel.curves) <= _MOST_BANDS and panel.undefended is None:
            low, high = ([100 * getattr(p.accuracy, end) for p in curve.points] for end in ("low", "high"))
            ax.fill_between(xs(curve), low, high, color=series.colour, alpha=0.12, lw=0)
    labels = [fitted(curve.row.label, 140) for curve in panel.curves]
    ax.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.01, 1.08), handlelength=2.2)
