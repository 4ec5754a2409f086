"""Which rows, threats and tiers of the tables are shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from recgauntlet.core.card import RANKING_TIER, TIERS, Tier
from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.address import suggestion
from recgauntlet.leaderboard.schema import Row, TaskTable


@dataclass(frozen=True)
class Selection:
    """Which rows, threats and tiers a table shows; an empty field means all."""

    tasks: Collection[str] = ()
    tracks: Collection[str] = ()
    models: Collection[str] = ()
    defenses: Collection[str] = ()
    threats: Collection[str] = ()
    tiers: Collection[str] = ()

    @property
    def shown_tiers(self) -> tuple[Tier, ...]:
        """The tiers in their order, the one that ranks where none is named."""
        return tuple(tier for tier in TIERS if tier in (self.tiers or (RANKING_TIER,)))


def select(tables: Sequence[TaskTable], chosen: Selection) -> tuple[TaskTable, ...]:
    """The tables with the chosen rows, threats and tiers alone; those of which no row or no chosen threat is left are
    left out.

    Raises RecordError where a name is nowhere in the tables (what is close to it is suggested), or nothing is left.
    """
    wanted = _checked(tables, chosen)
    kept = [
        replace(
            table,
            threats=tuple(column for column in table.threats if column.id in wanted["threats"]),
            rows=tuple(
                _chosen_row(row, wanted["threats"], wanted["tiers"])
                for row in table.rows
                if row.model.name in wanted["models"] and row.defense.name in wanted["defenses"]
            ),
        )
        for table in tables
        if table.task in wanted["tasks"] and table.track in wanted["tracks"]
    ]
    found = tuple(table for table in kept if table.rows and (table.threats or not chosen.threats))
    if not found:
        raise RecordError(
            "no row has all of these names", field="--select", remedy="leave one of them out, or give other values"
        )
    return found


def _checked(tables: Sequence[TaskTable], chosen: Selection) -> dict[str, Collection[str]]:
    """The names that each field of `chosen` lets through."""
    rows = [row for table in tables for row in table.rows]
    there: dict[str, set[str]] = {
        "tasks": {table.task for table in tables},
        "tracks": {table.track for table in tables},
        "models": {row.model.name for row in rows},
        "defenses": {row.defense.name for row in rows},
        "threats": {column.id for table in tables for column in table.threats},
        "tiers": set(TIERS),
    }
    for field, names in there.items():
        for name in set(getattr(chosen, field)) - names:
            problem = f"there is no {field.removesuffix('s')} {name!r} here"
            raise RecordError(problem, field="--select", remedy=suggestion(name, names))
    return {field: getattr(chosen, field) or names for field, names in there.items()}


def _chosen_row(row: Row, threats: Collection[str], tiers: Collection[str]) -> Row:
    return replace(
        row,
        threats=tuple(
            replace(under, cells=tuple(cell for cell in under.cells if cell.tier in tiers))
            for under in row.threats
            if under.threat in threats
        ),
    )
