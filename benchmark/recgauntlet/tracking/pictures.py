"""The figures of a table, drawn by what this package registers under `recgauntlet.figures`."""

from __future__ import annotations

from recgauntlet.core.plugins import BUILT_IN, find, names, whose
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.tracking.base import Picture


def pictures_of(table: TaskTable) -> tuple[Picture, ...]:
    """The figures of the leaderboard that the table has values for.

    An entry point of the group names a function that takes a `TaskTable` and gives objects with `name` (fit for a
    file), `title` and `png` (bytes). Those of other packages are not called: a sweep over untrusted plugins loads none
    of them in this process.
    """
    own = [name for name in names("figures") if whose("figures", name)[0] == BUILT_IN]
    drawn = [figure for name in own for figure in find("figures", name).value(table)]
    return tuple(Picture(figure.name, figure.title, figure.png) for figure in drawn)
