"""Groups of the test pairs by how much the training data knows of their users and clicked items."""

from __future__ import annotations

import numpy as np

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.types import PAD, IntArray
from recgauntlet.evaluation.results import CleanResult
from recgauntlet.metrics.groups import fifths
from recgauntlet.records.columns import FloatColumn, IntColumn
from recgauntlet.records.groups import Group, Grouping, GroupingName


def training_interactions(data: TaskData) -> tuple[IntArray, IntArray]:
    """`[M]` users and `[M]` items: every interaction that the training pairs hold, as a click or in a history, once."""
    train, size = data.train, len(data.catalog)
    items = np.concatenate([train.histories, train.clicked[:, None]], axis=1)
    known = items != PAD
    keys = np.unique((train.users[:, None] * size + items)[known])
    return keys // size, keys % size


def popularity_groups(data: TaskData) -> tuple[tuple[tuple[int, int], ...], IntArray]:
    """The fifths of the catalog by the users who have an item in the training pairs: their bounds, and the group `[N]`
    of each item."""
    _, items = training_interactions(data)
    return fifths(np.bincount(items, minlength=len(data.catalog)))


def groups_of(data: TaskData, clean: CleanResult) -> tuple[Grouping, ...]:
    """The groupings of a record. `data` has all test pairs of the task, from which the bounds are; the result those
    that were attacked, which are the first."""
    users, _ = training_interactions(data)
    activity = np.bincount(users, minlength=data.user_count)[data.test.users]
    popularity, of_items = popularity_groups(data)
    attacked = len(clean.labels) // 2
    exposed = None
    if clean.catalog is not None and len(clean.catalog.exposed):
        exposed = FloatColumn.of(clean.catalog.exposed)

    def grouping(name: GroupingName, bounds: tuple[tuple[int, int], ...], pairs: IntArray) -> Grouping:
        groups = tuple(Group(least=least, most=most) for least, most in bounds)
        places = exposed if name == "popularity" else None
        return Grouping(name=name, groups=groups, pairs=IntColumn.of(pairs[:attacked]), exposed=places)

    return (
        grouping("activity", *fifths(activity)),
        grouping("history", *fifths((data.test.histories != PAD).sum(axis=1))),
        grouping("popularity", popularity, of_items[data.test.clicked]),
    )
