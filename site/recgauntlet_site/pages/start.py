"""The overview on the start page: the robust accuracy of one method on several tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from recgauntlet.leaderboard.schema import Row
from recgauntlet_site.method_keys import method_keys, options_of
from recgauntlet_site.pages.task import TaskPage

MAX_LINES = 30
"""Methods that the overview shows; the pages of models and defenses hold all."""


@dataclass(frozen=True)
class Line:
    """A model under a defense (see `method_keys`): each task of the overview with the row on it, None where there is
    none."""

    cells: tuple[tuple[TaskPage, Row | None], ...]

    @property
    def rows(self) -> list[Row]:
        """The rows that there are."""
        return [row for _, row in self.cells if row is not None]

    @property
    def options(self) -> list[str]:
        """The options that tell the line from others of the same model and defense, on any of the tasks."""
        apart = [option for task, row in self.cells if row is not None for option in task.options_of(row)]
        return list(dict.fromkeys(apart))

    @property
    def has_own_values(self) -> bool:
        """Whether the options differ from task to task, as tuned values do."""
        return len({options_of(row) for row in self.rows}) > 1


class Overview(NamedTuple):
    """The ranked tables, one a task, and the methods that stand in at least two of them; there are `left_out` more."""

    tasks: list[TaskPage]
    lines: list[Line]
    left_out: int


def overview_of(tasks: Sequence[TaskPage]) -> Overview | None:
    """The overview; None where no method stands in two ranked tables. A task with several tables, which may not be
    compared, is left out. Methods on most tasks come first. Only methods on the same tasks are compared: they stand
    together, those that keep most on these tasks first."""
    ranked = [task for task in tasks if task.table.ranked]
    often = Counter(task.table.task for task in ranked)
    columns = [task for task in ranked if often[task.table.task] == 1]
    key_of = method_keys([task.table.rows for task in columns])
    on_task = [{key_of(row): row for row in task.table.rows} for task in columns]
    methods = dict.fromkeys(key for rows in on_task for key in rows)
    found = [Line(tuple((task, rows.get(key)) for task, rows in zip(columns, on_task, strict=True))) for key in methods]
    lines = sorted((line for line in found if len(line.rows) > 1), key=_order)
    return Overview(columns, lines[:MAX_LINES], len(lines[MAX_LINES:])) if lines else None


def _order(line: Line) -> tuple[object, ...]:
    kept = {task.table.task: row.worst_cell.robust.value for task, row in line.cells if row and row.worst_cell}
    return -len(kept), sorted(kept), -sum(kept.values()), line.rows[0].model.name, line.rows[0].defense.name
