"""The filters above a table, with which a reader hides rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet_site.columns import device_kind
from recgauntlet_site.families import defense_family, model_family

TITLES = {"models": "Models", "defenses": "Defenses", "device": "Device", "notes": "Rank"}
"""The filters of rows: the name in the address, and the title on the page."""


@dataclass(frozen=True)
class Filter:
    """A choice above the tables. A filter of rows is compared with the row's attribute `data-NAME`; the filter named
    "task" hides whole tables."""

    name: str
    title: str
    choices: tuple[str, ...]


def filter_values(table: TaskTable, row: Row) -> dict[str, str]:
    """The value of a row for each filter of rows."""
    if row.rank is not None:
        notes = "ranked"
    else:
        notes = "not ranked, flagged" if any(flag.blocks_rank for flag in row.flags) else "not ranked"
    return {
        "models": model_family(row.model),
        "defenses": defense_family(row.defense),
        "device": device_kind(row),
        "notes": notes,
    }


def filters_of(tables: Sequence[TaskTable]) -> tuple[Filter, ...]:
    """The filters of the rows of `tables`."""
    found = [filter_values(table, row) for table in tables for row in table.rows]
    return tuple(
        Filter(name, title, tuple(sorted({values[name] for values in found}))) for name, title in TITLES.items()
    )


def start_filters(tables: Sequence[TaskTable]) -> tuple[Filter, ...]:
    """The filters of the start page: of tasks, and of rows."""
    return (Filter("task", "Task", tuple(dict.fromkeys(table.task for table in tables))), *filters_of(tables))
