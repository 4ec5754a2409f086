"""Every row under every threat: a grid of tinted cells, each with its value in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.figure
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from matplotlib.transforms import ScaledTranslation

from recgauntlet.core.card import RANKING_TIER, Tier
from recgauntlet.core.escape import visible
from recgauntlet.core.names import shown
from recgauntlet.leaderboard.absence import absence
from recgauntlet.leaderboard.schema import TaskTable, ThreatColumn
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet_site.figures.describe import (
    Figure,
    counted_rows,
    figure_of,
    not_drawn,
    value_and_interval,
    value_range,
)
from recgauntlet_site.figures.rows import PlottedRow, PlottedRows, plotted_rows
from recgauntlet_site.figures.style import (
    FAINT,
    INK,
    LIGHT,
    LINE,
    TINT,
    in_style,
    legend,
    name_rows,
    new_figure,
    wrapped,
)
from recgauntlet_site.format import percent

KIND = "heat-map"
MOST_ROWS = 60
MOST_COLUMNS = 10
"""Columns of which each is wide enough for "61.2"."""
_HIGH = 17.0
"""Points that a row is high."""
_SMALL = 10.0
"""The size of letters in cells and of budgets."""
_GAP = 0.22
"""Between the columns of two threats, in widths of a column."""
_STRONGEST = 0.5
"""The opacity of the tint of 100 %: text on it keeps a contrast of 4.5 in light and dark."""


@dataclass(frozen=True)
class _Column:
    """Clean accuracy (`threat` is None), or a threat at a tier."""

    threat: ThreatColumn | None
    tier: Tier = RANKING_TIER

    def of(self, row: PlottedRow) -> Estimate | None:
        """The row's value."""
        if self.threat is None:
            return row.row.clean
        cell = row.row.at(self.threat.id, self.tier)
        return cell.robust if cell else None

    def text(self, row: PlottedRow) -> tuple[str, str]:
        """The row's value and interval, or why there is none."""
        value = self.of(row)
        if value is not None:
            return value_and_interval(value)
        return (absence(row.row, self.threat.id) if self.threat else "not run", "")

    @property
    def heading(self) -> str:
        """Its heading in the data table."""
        return f"{visible(self.threat.id)}, {shown('tier', self.tier)}, %" if self.threat else "clean, %"

    @property
    def amount(self) -> str:
        """The budget, "" where there is none."""
        budgets = self.threat.budgets if self.threat else ()
        return next((f"{b.amount or b.characters:g}" for b in budgets if b.tier == self.tier), "")


@in_style()
def heat_map(table: TaskTable, *, prefix: str = "") -> Figure | None:
    """Rows in the table's order, at most MOST_ROWS of them, with all tiers of all threats where there is room for them;
    None where the table has no row."""
    rows = plotted_rows(table)
    if not rows.all:
        return None
    groups = _groups(table)
    columns = [column for group in groups for column in group]
    return figure_of(
        table,
        KIND,
        prefix=prefix,
        title="Every row under every threat",
        description=_describe(rows.all, table),
        header=[heading for column in columns for heading in (column.heading, "95 % interval")],
        rows=[(row, [text for column in columns for text in column.text(row)]) for row in rows.all],
        drawing=_draw(rows, groups),
    )


def _groups(table: TaskTable) -> list[list[_Column]]:
    """Clean accuracy, then a group of columns for each threat. A threat that no model reads has no budgets."""
    tiers: list[list[Tier]] = [[budget.tier for budget in threat.budgets] or [RANKING_TIER] for threat in table.threats]
    threats = zip(table.threats, tiers, strict=True)
    return [[_Column(None)], *([_Column(threat, tier) for tier in own] for threat, own in threats)]


def _describe(rows: Sequence[PlottedRow], table: TaskTable) -> str:
    parts = []
    for threat in table.threats:
        column = _Column(threat)
        found = [(value.value, row.short_name) for row in rows if (value := column.of(row)) is not None]
        if not found:
            parts.append(f"under {visible(threat.id)} no row has a value")
            continue
        (low, lowest), (high, highest) = min(found), max(found)
        ends = f" (lowest {lowest}, highest {highest})" if low < high else ""
        parts.append(f"under {visible(threat.id)} {value_range([low, high])}{ends}")
    parts.append(f"clean {value_range([row.row.clean.value for row in rows])}")
    more = f" The figure shows the first {MOST_ROWS}." if len(rows) > MOST_ROWS else ""
    tier = shown("tier", RANKING_TIER)
    return f"Robust accuracy of {counted_rows(rows).lower()} at the {tier} tier: {'; '.join(parts)}.{more}"


def _draw(rows: PlottedRows, groups: Sequence[Sequence[_Column]]) -> matplotlib.figure.Figure:
    """All tiers where they fit, else the ranking tier of as many threats as fit."""
    all_tiers = sum(map(len, groups)) <= MOST_COLUMNS
    if not all_tiers:
        groups = [[column for column in group if column.tier == RANKING_TIER] for group in groups]
    drawn, left_out = groups[:MOST_COLUMNS], groups[MOST_COLUMNS:]
    shown = rows.all[:MOST_ROWS]
    figure = new_figure(60 + _HIGH * len(shown))
    ax = figure.add_subplot()
    ax.grid(visible=False)
    ax.spines["bottom"].set_visible(False)
    x, xticks, amounts = 0.0, [], []
    for group in drawn:
        _name_group(ax, group, x)
        for column in group:
            _draw_column(ax, column, shown, x)
            xticks.append(x + 0.5)
            amounts.append(column.amount)
            x += 1
        x += _GAP
    ax.set(xlim=(0, x - _GAP), xticks=xticks, xticklabels=amounts)
    ax.tick_params(axis="x", top=False, labeltop=True, bottom=False, labelbottom=False, pad=1, labelsize=_SMALL)
    name_rows(ax, [(f"{row.row.rank or '–'}\u2002{row.label}", row.hollow) for row in shown])
    missing = ", ".join(visible(group[0].threat.id) for group in left_out if group[0].threat)
    legend(
        figure,
        _entries([column.text(row)[0] for group in drawn for column in group for row in shown]),
        [
            f"Under each threat its {'low, medium and high budget' if all_tiers else 'medium budget'}.",
            f"Threats not drawn: {missing}." if missing else "",
            rows.note,
            not_drawn(rows.all[MOST_ROWS:]),
        ],
    )
    return figure


def _name_group(ax: Axes, group: Sequence[_Column], x: float) -> None:
    """The name of a threat above its columns, bold and underlined in ink where the threat is ranked."""
    threat = group[0].threat
    name, ranked = (visible(threat.id), threat.ranked) if threat else ("clean", False)
    # A break is allowed behind every hyphen.
    lines = wrapped(name.replace("-", "- "), 27.0 * len(group) + 6, most=3).replace("- ", "-")
    above = ax.get_xaxis_transform()
    colour, weight, width = (INK, "bold", 1.4) if ranked else (FAINT, "normal", 0.7)
    ax.plot([x + 0.05, x + len(group) - 0.05], [1, 1], color=colour, lw=width, transform=above, clip_on=False)
    middle = above + ScaledTranslation(0, (LINE + 3) / 72, ax.figure.dpi_scale_trans)
    ax.text(x + len(group) / 2, 1, lines, transform=middle, ha="center", va="bottom", weight=weight)


def opacity_of(share: float) -> float:
    """The opacity of the tint of an accuracy."""
    return 0.03 + (_STRONGEST - 0.03) * share


def _draw_column(ax: Axes, column: _Column, shown: Sequence[PlottedRow], x: float) -> None:
    for place, row in enumerate(shown):
        value, text = column.of(row), column.text(row)[0]
        corner = (x + 0.02, place - 0.47)
        if value is not None:
            ax.add_patch(Rectangle(corner, 0.96, 0.94, fc=LIGHT[TINT], alpha=opacity_of(value.value), lw=0))
        elif text == "not applicable":
            ax.add_patch(Rectangle(corner, 0.96, 0.94, fc="none", hatch="////", lw=0))
        if text != "not applicable":
            label = "–" if value is None else percent(value.value)
            letters = _SMALL if len(label) < 5 else 9.4
            ax.text(x + 0.5, place, label, ha="center", va="center_baseline", size=letters, in_layout=False)


def _entries(texts: Sequence[str]) -> list[tuple[Artist, str]]:
    entries: list[tuple[Artist, str]] = [
        (Patch(fc=(LIGHT[TINT], opacity_of(share / 100))), f"{share} %") for share in (0, 50, 100)
    ]
    if "not applicable" in texts:
        entries.append((Patch(fc="none", ec=FAINT, lw=0, hatch="////"), "not read by the model"))
    return entries
