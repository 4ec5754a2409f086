"""The security curves of a table: their budgets, their points, and what the axis counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recgauntlet.leaderboard.schema import CurvePoint, Row, TaskTable, ThreatColumn


@dataclass(frozen=True, order=True)
class Budget:
    """One budget of a table's curves."""

    amount: float
    characters: int


def budgets(table: TaskTable, column: ThreatColumn) -> tuple[Budget, ...]:
    """The budgets of the curves under a threat, rising; empty where no row has a curve."""
    points = [point for _, curve in curves(table, column) for point in curve]
    return tuple(sorted({Budget(point.amount, point.characters) for point in points}))


def curves(table: TaskTable, column: ThreatColumn) -> list[tuple[Row, tuple[CurvePoint, ...]]]:
    """The rows that have a curve under a threat, each with its curve."""
    return [(row, cells.curve) for row in table.rows if (cells := row.under(column.id)) is not None and cells.curve]


def point_at(points: Sequence[CurvePoint], budget: Budget) -> CurvePoint | None:
    """The point of a curve at a budget, None where the curve has none there."""
    return next((p for p in points if (p.amount, p.characters) == (budget.amount, budget.characters)), None)


def axis(column: ThreatColumn, by_characters: bool = False) -> str:
    """What the budget of a threat counts."""
    if column.surface == "embedding":
        return "radius, relative to the model’s own embeddings"
    if column.surface == "history":
        return "items of the history changed"
    return "characters changed" if by_characters else "words changed"
