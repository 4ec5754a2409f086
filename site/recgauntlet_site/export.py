"""The tables as JSON for other programs: everything on the page. `recgauntlet.table_csv` has the CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from recgauntlet.rows import TaskTable
from recgauntlet.stats import LEVEL

FORMAT = "recgauntlet-tables-1"


def to_json(tables: Sequence[TaskTable]) -> bytes:
    """Everything in the tables, unrounded; shares are between 0 and 1."""
    content = {"format": FORMAT, "interval": LEVEL, "tables": tables}
    return (
        json.dumps(content, sort_keys=True, default=_fields) + "\n"
    ).encode()  # with an indent it takes ten times as long


def _fields(part: object) -> dict[str, Any]:
    """What a part of a table holds; a cell has its certified accuracy where there is one."""
    if isinstance(part, BaseModel):
        return part.model_dump(mode="json")
    if is_dataclass(part):
        kind: Any = type(part)
        held = {name: getattr(part, name) for name in _names(kind)}
        if held.get("certified", ...) is None:
            del held["certified"]
        return held
    raise TypeError(f"{type(part).__name__} has no place in a table")


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
