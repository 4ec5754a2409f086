"""A column of a task's table, and a cell of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recgauntlet.leaderboard.schema import Row
from recgauntlet_site.format import absent_mark


@dataclass(frozen=True)
class Content:
    """A cell: its `value`, a `small` line below it and `more` below that, the key to `sort` by (empty values come
    last), and a `mark`: "none" where there is no value, "worst" where the row is ranked by this value."""

    value: str
    small: str = ""
    sort: str = ""
    mark: str = ""
    more: str = ""


@dataclass(frozen=True)
class Column:
    """A column: its `key` in the address, its head with a `note`, its `group` in the column chooser, and its cell of a
    row. Columns that are `shown` are visible at first; `threat` and `tier` are empty for columns without a threat."""

    key: str
    head: str
    note: str
    group: str
    content: Callable[[Row], Content]
    shown: bool = False
    threat: str = ""
    tier: str = ""


NOTHING = Content("not applicable", mark="none")
NOT_RUN = Content("not run", mark=absent_mark("not run"))
