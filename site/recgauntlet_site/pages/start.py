"""The overview on the start page: the robust accuracy of one method on several tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from recgauntlet.leaderboard.paper_table import options_apart
from recgauntlet.leaderboard.schema import Row
from recgauntlet.records.references import PluginRef
from recgauntlet_site.pages.task import TaskPage

MAX_LINES = 30
"""Methods that the overview shows; the pages of models and defenses hold all."""


@dataclass(frozen=True)
class Line:
    """A model under a defense with the same options everywhere: its row on each task of the overview, None where it has
    none."""

    rows: tuple[Row | None, ...]

    @property
    def first(self) -> Row:
        """A row that names the method."""
        return next(row for row in self.rows if row is not None)


@dataclass(frozen=True)
class Overview:
    """The ranked tables, one a task, and the methods that stand in at least two of them; there are `left_out` more."""

    tasks: tuple[TaskPage, ...]
    lines: tuple[Line, ...]
    left_out: int

    def cells(self, line: Line) -> list[tuple[TaskPage, Row | None]]:
        """The line's row on each task."""
        return list(zip(self.tasks, line.rows, strict=True))

    def options(self, line: Line) -> list[str]:
        """The options that tell a line from others of the same model and defense, on any of the tasks."""
        apart = [options_apart(row, task.table) for task, row in self.cells(line) if row is not None]
        return list(dict.fromkeys(option for options in apart for option in options))


def overview_of(tasks: Sequence[TaskPage]) -> Overview | None:
    """The overview; None where no method stands in two ranked tables. A task with several tables, which may not be
    compared, is left out. Methods on most tasks come first, then those that keep most."""
    ranked = [task for task in tasks if task.table.ranked]
    often = Counter(task.table.task for task in ranked)
    columns = tuple(task for task in ranked if often[task.table.task] == 1)
    methods: dict[tuple[object, ...], list[Row | None]] = {}
    for place, task in enumerate(columns):
        for row in task.table.rows:
            key = (_key(row.model), _key(row.defense))
            methods.setdefault(key, [None] * len(columns))[place] = row
    lines = [Line(tuple(rows)) for rows in methods.values() if sum(row is not None for row in rows) > 1]
    if not lines:
        return None
    lines.sort(key=_order)
    return Overview(columns, tuple(lines[:MAX_LINES]), len(lines[MAX_LINES:]))


def _key(ref: PluginRef) -> tuple[object, ...]:
    return ref.distribution, ref.name, ref.version, tuple(sorted(ref.hyperparameters.items()))


def _order(line: Line) -> tuple[object, ...]:
    kept = [row.worst_cell.robust.value for row in line.rows if row is not None and row.worst_cell is not None]
    return -len(kept), -sum(kept), line.first.model.name, line.first.defense.name
