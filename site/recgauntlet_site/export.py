"""The tables as JSON for other programs: everything on the page. `recgauntlet.table_csv` has the CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from pydantic import BaseModel

from recgauntlet.rows import TaskTable
from recgauntlet.stats import LEVEL

FORMAT = "recgauntlet-tables-1"


def to_json(tables: Sequence[TaskTable]) -> bytes:
    """Everything in the tables, unrounded; shares are between 0 and 1."""
    content = {"format": FORMAT, "interval": LEVEL, "tables": [asdict(table) for table in tables]}
    return (json.dumps(content, indent=1, sort_keys=True, default=_fields) + "\n").encode()


def _fields(part: object) -> object:
    if isinstance(part, BaseModel):
        return part.model_dump(mode="json")
    raise TypeError(f"{type(part).__name__} has no place in a table")
