"""Why a row has no number: not run, not applicable, or failed. Every table and page uses these words."""

from __future__ import annotations

from typing import Literal

from recgauntlet.leaderboard.schema import Row, TaskTable

Absence = Literal["not run", "not applicable", "failed"]


def absence(row: Row, threat: str) -> Absence:
    """Why `row` has no robust accuracy under `threat`: its model does not read what the threat changes (not
    applicable), or not every seed was attacked (not run)."""
    cells = row.under(threat)
    return "not run" if cells is None or cells.applicable else "not applicable"


def absence_of_worst(table: TaskTable, row: Row) -> Absence:
    """Why `row` has no robust accuracy under a ranked threat of its table."""
    found = {absence(row, column.id) for column in table.threats if column.ranked}
    return "not applicable" if found == {"not applicable"} else "not run"


def absence_of_row(table: TaskTable, model: str, defense: str) -> Absence:
    """Why a table has no row of a model under a defense: every seed failed, or there is no record of them."""
    lost = any((cell.model, cell.defense) == (model, defense) for cell in table.failed)
    return "failed" if lost else "not run"
