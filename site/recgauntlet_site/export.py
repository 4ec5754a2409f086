"""The tables as JSON for other programs: everything on the page. `recgauntlet.leaderboard.table_csv` has the CSV."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import ConfigDict, RootModel

from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.metrics.bootstrap import LEVEL

FORMAT = "recgauntlet-tables-1"


class _Written(RootModel[TaskTable]):
    model_config = ConfigDict(ser_json_inf_nan="constants")


def table_to_json(table: TaskTable) -> bytes:
    """Everything in a table, unrounded; shares are between 0 and 1."""
    return _Written.model_construct(root=table).model_dump_json().encode()


def table_from_json(text: bytes) -> TaskTable:
    """The table that `table_to_json` wrote, to the last bit."""
    return _Written.model_validate_json(text).root


def joined_as_json(tables: Sequence[bytes]) -> bytes:
    """One file of tables that are JSON each."""
    head = json.dumps({"format": FORMAT, "interval": LEVEL, "tables": []}, sort_keys=True).removesuffix("]}")
    return head.encode() + b", ".join(tables) + b"]}\n"
