"""How the rows of a table are named and drawn: the same on every figure of the table.

Where there are few defenses each has a colour, marker and dash pattern of its own; where there are many, each family of
defenses has.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from recgauntlet.core.escape import shortened, visible
from recgauntlet.core.names import shown
from recgauntlet.core.spec import TWIN
from recgauntlet.leaderboard.paper_table import options_apart
from recgauntlet.leaderboard.schema import Cell, Row, TaskTable
from recgauntlet_site.families import DEFENSES, defense_family
from recgauntlet_site.figures.pareto import front
from recgauntlet_site.figures.style import DASHES, LIGHT, SERIES, SHAPES, UNDEFENDED, fitted, label_points, markers
from recgauntlet_site.format import times

FEW = 12
"""Rows up to which a figure names all of them."""
_MOST_LABELS = 16


@dataclass(frozen=True)
class Series:
    """A colour, a marker and a dash pattern with what they stand for. `number` is an index of `style.LIGHT`."""

    number: int
    label: str

    @property
    def colour(self) -> str:
        """The colour in light mode."""
        return LIGHT[self.number]

    @property
    def shape(self) -> str:
        """The marker in matplotlib's notation."""
        return SHAPES[self.number]

    @property
    def dashes(self) -> tuple[float, tuple[float, ...] | None]:
        """The line style in matplotlib's notation."""
        return (0, DASHES[self.number] or None)


@dataclass(frozen=True, eq=False)
class PlottedRow:
    """A row with the names and the series that figures give it."""

    row: Row
    name: str
    """Model, defense and, where two rows share these, the options that differ."""
    label: str
    """The short name beside a marker."""
    series: Series
    hollow: bool
    """Not ranked, although the table ranks."""
    competes: bool
    """May be on a Pareto front: ranked, or sound where no row is ranked, and of the seeds of most such rows."""

    @property
    def short_name(self) -> str:
        """The name in a sentence, of limited length."""
        return shortened(self.name)

    @property
    def undefended(self) -> bool:
        """Whether the row is trained without a defense."""
        return self.row.defense.name == TWIN


@dataclass(frozen=True, eq=False)
class Point:
    """A row with the cell of one threat."""

    row: PlottedRow
    cell: Cell

    @property
    def clean(self) -> float:
        """Clean accuracy in per cent."""
        return 100 * self.row.row.clean.value

    @property
    def robust(self) -> float:
        """Robust accuracy in per cent."""
        return 100 * self.cell.robust.value

    @property
    def cost(self) -> float:
        """Training FLOPs relative to the undefended row of the same model, which has 1, within what an axis shows."""
        ratio = self.row.row.cost.flops_ratio
        return min(max(ratio, 1e-3), 1e5) if ratio is not None and ratio > 0 else 1.0

    @property
    def cost_text(self) -> str:
        """The cost as the leaderboard prints it."""
        return times(self.row.row.cost.flops_ratio)


@dataclass(frozen=True)
class PlottedRows:
    """All rows in the order of the table."""

    all: tuple[PlottedRow, ...]
    note: str
    """Explains the short labels, "" where they are full names."""
    by_family: bool
    """Whether a series is a family of defenses."""

    @property
    def caution(self) -> str:
        """A warning about fronts where no row is ranked, else ""."""
        unranked = bool(self.all) and all(row.hollow for row in self.all)
        return "No row is ranked: the front is of rows that failed no check." if unranked else ""


def plotted_rows(table: TaskTable) -> PlottedRows:
    """Names and series for the rows of a table."""
    defended = {row.model.name for row in table.rows if row.defense.name != TWIN}
    only = next(iter(defended)) if len(defended) == 1 else None
    defenses = sorted({row.defense.name for row in table.rows} - {TWIN})
    plugins = {(row.defense.name, row.defense.distribution) for row in table.rows if row.defense.name != TWIN}
    by_family = len(plugins) >= SERIES
    copies = Counter((row.model.name, row.defense.name) for row in table.rows)
    none_ranked = table.ranked and all(row.rank is None for row in table.rows)
    found = []
    for row in table.rows:
        model, defense = visible(row.model.name), visible(shown("defense", row.defense.name))
        undefended = row.defense.name == TWIN
        several = copies[row.model.name, row.defense.name] > 1
        options = "".join(f", {visible(option)}" for option in options_apart(row, table)) if several else ""
        if by_family:
            family = defense_family(row.defense)
            series = Series(list(DEFENSES).index(family), "undefended" if family == "none" else family)
        else:
            number = UNDEFENDED if undefended else 1 + defenses.index(row.defense.name)
            series = Series(number, defense)
        start = "" if only is not None and not undefended else isolated(model)
        label = start if undefended else f"{start} + {isolated(defense)}".strip()
        hollow = table.ranked and row.rank is None
        competes = row.rank is not None if table.ranked and not none_ranked else _failed_no_check(row)
        found.append(PlottedRow(row, f"{model} + {defense}{options}", label + options, series, hollow, competes))
    sets = Counter(row.row.seeds for row in found if row.competes)
    seeds = max(sets, key=lambda own: (sets[own], len(own), own), default=())
    found = [replace(row, competes=row.competes and row.row.seeds == seeds) for row in found]
    note = f"A name after + is a defense on {isolated(visible(only))}." if only else ""
    return PlottedRows(tuple(found), note, by_family)


def undefended_row(rows: Sequence[PlottedRow], model: str | None) -> PlottedRow | None:
    """The undefended row of a model; None where there is none or more than one."""
    found = [row for row in rows if row.undefended and row.row.model.name == model]
    return found[0] if len(found) == 1 else None


def most_defended(rows: Sequence[PlottedRow]) -> str | None:
    """The model with the most defended rows; None where no row is defended."""
    counts = Counter(row.row.model.name for row in rows if not row.undefended)
    return min(counts, key=lambda name: (-counts[name], name)) if counts else None


def best_of(points: Sequence[Point], qualities: Callable[[Point], tuple[float, ...]]) -> list[Point]:
    """The points on the front of `qualities`, of which more is better; rows that may not compete are on none."""
    able = [point for point in points if point.row.competes] if len(points) > 1 else []
    return [point for point, on in zip(able, front(list(map(qualities, able))), strict=True) if on]


def label_rows(ax: Axes, points: Sequence[tuple[Point, float, float]], important: Sequence[Point]) -> None:
    """Name rows beside their points (point, x, y): of few rows all, each with its cost; of many the `important` ones,
    then the undefended ones."""
    at = {point: (x, y) for point, x, y in points}
    order = list(dict.fromkeys([*important, *(point for point in at if point.row.undefended), *at]))
    if len(at) <= FEW:
        labels = [(f"{fitted(point.row.label)} {fitted(point.cost_text, 60)}", *at[point]) for point in order]
    else:
        named = [point for point in order if point in important or point.row.undefended]
        labels = [(fitted(point.row.label), *at[point]) for point in named[:_MOST_LABELS]]
    label_points(ax, labels, list(at.values()))


def series_entries(rows: PlottedRows, shown: Sequence[PlottedRow]) -> list[tuple[Artist, str]]:
    """One entry of a legend for each family of defenses; none where every defense has a label of its own."""
    found = {row.series.number: row.series for row in shown} if rows.by_family else {}
    return [(markers([], [], series.colour, series.shape), series.label) for _, series in sorted(found.items())]


def isolated(text: str) -> str:
    """`text` between direction isolates where letters of it run from right to left, so that its neighbours stay."""
    right_to_left = any(unicodedata.bidirectional(character) in {"R", "AL"} for character in text)
    return f"\u2068{text}\u2069" if right_to_left else text


def _failed_no_check(row: Row) -> bool:
    """Whether the row lacks nothing but seeds to be ranked."""
    return not any(flag.blocks_rank and flag.kind != "few-seeds" for flag in row.flags)
