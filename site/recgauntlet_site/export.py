"""The tables as JSON for other programs: everything on the page. `recgauntlet.table_csv` has the CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic import BaseModel

from recgauntlet.rows import TaskTable
from recgauntlet.stats import LEVEL

FORMAT = "recgauntlet-tables-1"


def to_json(tables: Sequence[TaskTable]) -> bytes:
    """Everything in the tables, unrounded; shares are between 0 and 1."""
    content = {"format": FORMAT, "interval": LEVEL, "tables": [_plain(table) for table in tables]}
    return (json.dumps(content, indent=1, sort_keys=True, default=_fields) + "\n").encode()


def _plain(table: TaskTable) -> dict[str, Any]:
    """Everything in a table; a cell has its certified accuracy where there is one."""
    return asdict(table, dict_factory=lambda pairs: {k: v for k, v in pairs if (k, v) != ("certified", None)})


def _fields(part: object) -> object:
    if isinstance(part, BaseModel):
        return part.model_dump(mode="json")
    raise TypeError(f"{type(part).__name__} has no place in a table")
