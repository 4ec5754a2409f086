"""The tables as JSON for other programs: everything on the page. `recgauntlet.table_csv` has the CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

from pydantic import BaseModel

from recgauntlet.rows import TaskTable
from recgauntlet.stats import LEVEL, Estimate

FORMAT = "recgauntlet-tables-1"


def table_to_json(table: TaskTable) -> bytes:
    """Everything in a table, unrounded; shares are between 0 and 1."""
    return json.dumps(table, sort_keys=True, default=_fields).encode()  # with an indent it takes ten times as long


def joined_as_json(tables: Sequence[bytes]) -> bytes:
    """One file of tables that are JSON each."""
    head = json.dumps({"format": FORMAT, "interval": LEVEL, "tables": []}, sort_keys=True).removesuffix("]}")
    return head.encode() + b", ".join(tables) + b"]}\n"


def _fields(part: object) -> dict[str, Any]:
    """What a part of a table holds; a cell has its certified accuracy where there is one."""
    if type(part) is Estimate:  # most parts are
        return {"value": part.value, "low": part.low, "high": part.high}
    if is_dataclass(part):
        kind: Any = type(part)
        held = {name: getattr(part, name) for name in _names(kind)}
        if held.get("certified", ...) is None:
            del held["certified"]
        return held
    if isinstance(part, BaseModel):
        return part.model_dump(mode="json")
    raise TypeError(f"{type(part).__name__} has no place in a table")


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))
