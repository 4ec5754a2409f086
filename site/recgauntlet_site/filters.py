"""The filters above a table, with which a reader hides rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet_site.families import defense_family, model_family


class Filter(NamedTuple):
    """A choice above the tables. A filter of rows is compared with the row's attribute `data-NAME`; the filter named
    "task" hides whole tables."""

    name: str
    title: str
    choices: tuple[str, ...]


def _device_kind(row: Row) -> str:
    """CPU, GPU or both, by the names of the devices."""
    kinds = {"CPU" if source.device.lower().startswith("cpu") else "GPU" for source in row.sources}
    return " and ".join(sorted(kinds))


def _rank_note(row: Row) -> str:
    if row.rank is not None:
        return "ranked"
    return "not ranked, flagged" if any(flag.blocks_rank for flag in row.flags) else "not ranked"


_OF_ROWS: tuple[tuple[str, str, Callable[[Row], str]], ...] = (
    ("models", "Models", lambda row: model_family(row.model)),
    ("defenses", "Defenses", lambda row: defense_family(row.defense)),
    ("device", "Device", _device_kind),
    ("notes", "Rank", _rank_note),
)
"""The filters of rows: the name in the address, the title on the page, and the value of a row."""


def filter_values(row: Row) -> dict[str, str]:
    """The value of a row for each filter of rows."""
    return {name: value(row) for name, _, value in _OF_ROWS}


def filters_of(tables: Sequence[TaskTable]) -> list[Filter]:
    """The filters of the rows of `tables`."""
    rows = [row for table in tables for row in table.rows]
    return [Filter(name, title, tuple(sorted({value(row) for row in rows}))) for name, title, value in _OF_ROWS]


def start_filters(tables: Sequence[TaskTable]) -> list[Filter]:
    """The filters of the start page: of tasks, and of rows."""
    return [Filter("task", "Task", tuple(dict.fromkeys(table.task for table in tables))), *filters_of(tables)]
