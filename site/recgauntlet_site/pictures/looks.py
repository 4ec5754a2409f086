"""How a table's rows look on its figures: what they are called, their series, whether they compete.

A row has the same look on every figure of its table. Where there are few defenses each is a series of its own; where
there are many, a series is a family of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from recgauntlet.core.escape import shortened, visible
from recgauntlet.leaderboard.address import slug
from recgauntlet.leaderboard.paired import STANDARD
from recgauntlet.leaderboard.paper_table import options_apart
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet_site.families import DEFENSE_FAMILIES, defense_family
from recgauntlet_site.pictures.drawing import SHAPES, Shape
from recgauntlet_site.pictures.lettering import isolated
from recgauntlet_site.pictures.palette import PLAIN, SERIES

DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (7, 2, 1.5, 2), (3, 3), (9, 3), (4, 1.5, 1.5, 1.5))
_NAMED = SERIES - 1
"""Defenses up to which each has a series of its own."""


@dataclass(frozen=True)
class Series:
    """One colour, one marker, one dash and what they stand for; `number` is less than `palette.SERIES`."""

    number: int
    label: str

    @property
    def colour(self) -> str:
        """The class of the colour."""
        return f"s{self.number}"

    @property
    def shape(self) -> Shape:
        """The marker."""
        return SHAPES[self.number]

    @property
    def dash(self) -> tuple[float, ...]:
        """The dashes of a line."""
        return DASHES[self.number]


@dataclass(frozen=True, eq=False)
class Look:
    """A row on figures. `name` is its full name, `label` the short one that drawings have.

    `hollow` rows are not ranked although their table ranks. `competes` says whether the row may stand on a front.
    """

    row: Row
    name: str
    label: str
    series: Series
    hollow: bool
    competes: bool

    @property
    def told(self) -> str:
        """The name as a sentence says it: not longer than a table for readers shows."""
        return shortened(self.name)

    @property
    def plain(self) -> bool:
        """Whether the row is trained without a defense."""
        return self.row.defense.name == STANDARD


@dataclass(frozen=True)
class Looks:
    """The looks of all rows, in the order of the table. `note` explains the short labels, "" where they are full."""

    all: tuple[Look, ...]
    note: str
    by_family: bool

    @property
    def caution(self) -> str:
        """What a front is worth where nothing is ranked; "" where rows are."""
        unranked = bool(self.all) and all(look.hollow for look in self.all)
        return "No row is ranked: the front is of those that failed no check." if unranked else ""


def looks_of(table: TaskTable) -> Looks:
    """How the rows of a table look on figures."""
    defended = {row.model.name for row in table.rows if row.defense.name != STANDARD}
    only = next(iter(defended)) if len(defended) == 1 else None
    families = (
        len({(r.defense.name, r.defense.distribution) for r in table.rows if r.defense.name != STANDARD}) > _NAMED
    )
    names = sorted({row.defense.name for row in table.rows} - {STANDARD})
    twice = Counter((row.model.name, row.defense.name) for row in table.rows)
    nobody = table.ranked and all(row.rank is None for row in table.rows)
    found = []
    for row in table.rows:
        apart = twice[row.model.name, row.defense.name] > 1
        options = "".join(f", {visible(option)}" for option in options_apart(row, table)) if apart else ""
        model, defense = visible(row.model.name), visible(row.defense.name)
        plain = row.defense.name == STANDARD
        if families:
            series = _family(row)
        else:
            series = Series(PLAIN, STANDARD) if plain else Series(1 + names.index(row.defense.name), defense)
        found.append(
            Look(
                row=row,
                name=f"{model} + {defense}{options}",
                label=_label(model, "" if plain else defense, alone=only is not None) + options,
                series=series,
                hollow=table.ranked and row.rank is None,
                competes=_competes(row, table, nobody),
            )
        )
    note = f"A name after + is a defense on {isolated(visible(only))}." if only else ""
    return Looks(tuple(found), note, families)


def twin_in(looks: Sequence[Look], model: str | None) -> Look | None:
    """The undefended row of a model, None where there is none or more than one, or no model."""
    found = [look for look in looks if look.plain and look.row.model.name == model]
    return found[0] if len(found) == 1 else None


def most_defended(looks: Sequence[Look]) -> str | None:
    """The model with most defended rows, None where none has any."""
    counts = Counter(look.row.model.name for look in looks if not look.plain)
    return min(counts, key=lambda name: (-counts[name], name)) if counts else None


def picture_name(table: TaskTable, prefix: str, kind: str, threat: str = "") -> str:
    """The name of a figure. `prefix` tells tables of one task apart; "" makes it of the task and the track."""
    start = prefix or f"{slug(table.task)}-v{table.version}-{table.track}"
    if not threat:
        return f"{start}-{kind}"
    own = [slug(column.id) for column in table.threats]
    place = next(n for n, column in enumerate(table.threats) if column.id == threat)
    number = f"-{place + 1}" if own.count(own[place]) > 1 else ""
    return f"{start}-{kind}-{own[place]}{number}"


def _label(model: str, defense: str, *, alone: bool) -> str:
    if not defense:
        return isolated(model)
    return f"+ {isolated(defense)}" if alone else f"{isolated(model)} + {isolated(defense)}"


def _family(row: Row) -> Series:
    family = defense_family(row.defense)
    return Series(DEFENSE_FAMILIES.index(family), "undefended" if family == "none" else family)


def _competes(row: Row, table: TaskTable, nobody: bool) -> bool:
    """Ranked rows compete. Where none is ranked (or the table ranks nothing), those do that lack nothing but seeds."""
    if table.ranked and not nobody:
        return row.rank is not None
    return not any(flag.blocks_rank and flag.kind != "few-seeds" for flag in row.flags)
