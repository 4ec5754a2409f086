"""The plot of security curves: accuracy as the budget of a threat grows from nothing to twice its high tier.

A row is a line: the defense is its colour and shape, as in every plot of a table, the model its dashes. The numbers are
in the table beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator

from recgauntlet.rows import CurvePoint, Row, TaskTable, ThreatColumn
from recgauntlet_site.drawing import INK, SERIES, SETTINGS, SHAPES, defense_series, for_page, plain_axes, short
from recgauntlet_site.words import percent, row_name

DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
MOST_BANDS = 3
"""Lines up to which a plot shows their intervals: more bands than these hide each other."""
_INCH_A_LINE = 0.19


@dataclass(frozen=True)
class Budget:
    """One budget of a table's curves."""

    amount: float
    characters: int


def budgets(table: TaskTable, column: ThreatColumn) -> tuple[Budget, ...]:
    """The budgets of the curves under a threat, rising; empty where no row has a curve."""
    found = {(point.amount, point.characters) for _, points in curves(table, column) for point in points}
    return tuple(Budget(*pair) for pair in sorted(found))


def curves(table: TaskTable, column: ThreatColumn) -> list[tuple[Row, tuple[CurvePoint, ...]]]:
    """The rows that have a curve under a threat, with it."""
    return [(row, cells.curve) for row in table.rows if (cells := row.under(column.id)) is not None and cells.curve]


def point_at(points: Sequence[CurvePoint], budget: Budget) -> CurvePoint | None:
    """The point of a curve at a budget, None where the curve has none there."""
    return next((p for p in points if (p.amount, p.characters) == (budget.amount, budget.characters)), None)


def plot_curves(table: TaskTable, column: ThreatColumn, name: str) -> str:
    """An `<svg>` element of the curves under one threat; empty where no row has one. `name` prefixes its ids."""
    found = curves(table, column)
    if not found:
        return ""
    series = defense_series(table)
    models = sorted({row.model.name for row, _ in found})
    lines = (len(found) + 1) // 2
    with matplotlib.rc_context(SETTINGS):
        height = 3.1 + _INCH_A_LINE * lines
        figure = Figure(figsize=(5.6, height), dpi=100)
        foot = (0.62 + _INCH_A_LINE * lines) / height
        axes = figure.add_axes((0.1, foot, 0.88, 0.94 - foot))
        by_characters = not any(point.amount for _, points in found for point in points)
        banded = len(found) <= MOST_BANDS
        handles = [
            _line(axes, points, series[row.defense.name], models.index(row.model.name), by_characters, banded)
            for row, points in found
        ]
        _frame(axes, column, by_characters)
        legend = figure.legend(
            handles,
            [f" {short(row_name(row))}" for row, _ in found],  # a name with an underscore in front would be left out
            loc="lower left",
            bbox_to_anchor=(0.09, 0.0),
            ncols=2,
            frameon=False,
            fontsize=9,
            handlelength=2.6,
            columnspacing=1.6,
            labelspacing=0.35,
            borderpad=0.1,
        )
        for text in legend.get_texts():
            text.set_color(INK["ink"])
        return for_page(figure, name)


def describe_curves(table: TaskTable, column: ThreatColumn) -> str:
    """The curves in words, for those who cannot see them."""
    parts = []
    for row, points in curves(table, column):
        told = ", ".join(f"{percent(p.accuracy.value)} % at {p.amount or p.characters:g}" for p in points)
        parts.append(f"{row.model.name} trained with {row.defense.name}: {told}")
    return f"Accuracy against the budget of {column.id}. {'; '.join(parts)}."


def axis(column: ThreatColumn, by_characters: bool = False) -> str:
    """What a threat's budget counts."""
    if column.surface == "embedding":
        return "radius, relative to the model’s own embeddings"
    if column.surface == "history":
        return "items of the history changed"
    return "characters changed" if by_characters else "words changed"


def _line(
    axes: Axes, points: Sequence[CurvePoint], series: int, model: int, by_characters: bool, banded: bool
) -> Line2D:
    colour = INK[f"s{series % SERIES}"]
    x = [point.characters if by_characters else point.amount for point in points]
    low, value, high = ([100 * getattr(point.accuracy, part) for point in points] for part in ("low", "value", "high"))
    if banded:
        axes.fill_between(x, low, high, color=colour, alpha=0.1, linewidth=0, zorder=1)
    (line,) = axes.plot(
        x,
        value,
        color=colour,
        linewidth=1.7,
        linestyle=DASHES[model % len(DASHES)],
        marker=SHAPES[series % len(SHAPES)],
        markersize=5.5,
        markerfacecolor=colour,
        markeredgecolor=INK["paper"],
        markeredgewidth=0.8,
        clip_on=False,  # markers on the axes are whole
        zorder=3,
    )
    return line


def _frame(axes: Axes, column: ThreatColumn, by_characters: bool) -> None:
    axes.set_ylim(-2, 102)
    axes.set_xlim(left=0, right=axes.dataLim.x1 * 1.02 or 1)
    axes.yaxis.set_major_locator(MultipleLocator(25))
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 2.5, 5, 10], integer=column.surface != "embedding"))
    axes.set_xlabel(axis(column, by_characters), color=INK["ink"])
    axes.set_ylabel("accuracy, %", color=INK["ink"])
    plain_axes(axes)
    for tier in column.budgets:
        at = tier.characters if by_characters else tier.amount
        axes.axvline(at, color=INK["faint"], linewidth=0.8, dashes=(1, 3), zorder=0)
        if tier.tier == "standard":
            axes.annotate(
                "standard",
                (at, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 2),
                textcoords="offset points",
                color=INK["faint"],
                fontsize=8.5,
                ha="center",
                va="bottom",
            )
