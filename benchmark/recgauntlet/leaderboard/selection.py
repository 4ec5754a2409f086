"""Which rows, threats and tiers of a board a table shows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

from recgauntlet.core.card import RANKING_TIER, TIERS, Tier
from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.schema import Row, TaskTable, ThreatCells


@dataclass(frozen=True)
class Selection:
    """What is wanted; an empty part means all."""

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

    Raises
    ------
    RecordError
        Where a name is nowhere in the tables (what is close to it is suggested), or nothing is left.
    """
    _check_names(tables, chosen)
    kept = [
        replace(
            table,
            threats=tuple(column for column in table.threats if _has(chosen.threats, column.id)),
            rows=tuple(_row(row, chosen) for row in table.rows if _has_row(row, chosen)),
        )
        for table in tables
        if _has(chosen.tasks, table.task) and _has(chosen.tracks, table.track)
    ]
    found = tuple(table for table in kept if table.rows and (table.threats or not chosen.threats))
    if not found:
        raise RecordError(
            "no row has all of these names", field="--select", remedy="leave one of them out, or give other values"
        )
    return found


def _check_names(tables: Sequence[TaskTable], chosen: Selection) -> None:
    rows = [row for table in tables for row in table.rows]
    there: dict[str, tuple[Collection[str], set[str]]] = {
        "task": (chosen.tasks, {table.task for table in tables}),
        "track": (chosen.tracks, {table.track for table in tables}),
        "model": (chosen.models, {row.model.name for row in rows}),
        "defense": (chosen.defenses, {row.defense.name for row in rows}),
        "threat": (chosen.threats, {column.id for table in tables for column in table.threats}),
        "tier": (chosen.tiers, set(TIERS)),
    }
    for kind, (wanted, names) in there.items():
        for name in wanted:
            if name not in names:
                close = get_close_matches(name, names, n=3, cutoff=0.4)
                hint = f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(sorted(names)[:20])}"
                raise RecordError(f"there is no {kind} {name!r} here", field="--select", remedy=hint)


def _row(row: Row, chosen: Selection) -> Row:
    return replace(
        row, threats=tuple(_cells(cells, chosen) for cells in row.threats if _has(chosen.threats, cells.threat))
    )


def _cells(cells: ThreatCells, chosen: Selection) -> ThreatCells:
    return replace(cells, cells=tuple(cell for cell in cells.cells if _has(chosen.tiers, cell.tier)))


def _has_row(row: Row, chosen: Selection) -> bool:
    return _has(chosen.models, row.model.name) and _has(chosen.defenses, row.defense.name)


def _has(chosen: Collection[str], name: str) -> bool:
    return not chosen or name in chosen
