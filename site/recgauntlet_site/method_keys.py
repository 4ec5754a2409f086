"""What is one method on several tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from recgauntlet.leaderboard.schema import Row

Key = tuple[object, ...]


def method_keys(tables: Sequence[Sequence[Row]]) -> Callable[[Row], Key]:
    """The key of the method that a row of one of `tables`, one a task, is of: the model and the defense by name and
    package, since values are tuned task by task. Where some table has several rows of these, options tell them apart.
    """
    several = {names for rows in tables for names, count in Counter(map(_names, rows)).items() if count > 1}

    def key(row: Row) -> Key:
        names = _names(row)
        return (names, *options_of(row)) if names in several else (names,)

    return key


def options_of(row: Row) -> tuple[Key, Key]:
    """The options of the row's model and of its defense."""
    model, defense = (tuple(sorted(ref.hyperparameters.items())) for ref in (row.model, row.defense))
    return model, defense


def _names(row: Row) -> Key:
    return tuple((ref.distribution, ref.name) for ref in (row.model, row.defense))
