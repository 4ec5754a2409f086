"""Drawing unclicked candidates that a user never took, for many users at once."""

from __future__ import annotations

import numpy as np

from recgauntlet.core.errors import DataError
from recgauntlet.core.types import BoolArray, IntArray


def unseen(
    users: IntArray, taken: IntArray, item_count: int, size: int, rng: np.random.Generator, *, where: str
) -> IntArray:
    """`[M, size]` distinct items a row, drawn uniformly from those the row's user did not take.

    Parameters
    ----------
    users
        `[M]` user indices.
    taken
        Sorted keys `user * item_count + item` of what must not be drawn.

    Raises
    ------
    DataError
        Where a user has taken so much that fewer than `size` items are left.
    """
    _check_room(users, taken, item_count, size, where)
    drawn = rng.integers(0, item_count, size=(len(users), size))
    while (bad := _unfit(users, drawn, taken, item_count)).any():
        drawn[bad] = rng.integers(0, item_count, size=int(bad.sum()))
    return drawn


def unseen_by_popularity(
    users: IntArray, taken: IntArray, clicks: IntArray, size: int, rng: np.random.Generator, *, where: str
) -> IntArray:
    """`[M, size]` distinct items a row, drawn one after the other with chances proportional to `clicks` from those the
    row's user did not take. Items without clicks are never drawn.

    Parameters
    ----------
    users
        `[M]` user indices.
    taken
        Sorted keys `user * N + item` of what must not be drawn.
    clicks
        `[N]` clicks of each item in the training period.

    Raises
    ------
    DataError
        Where a user has taken so much that fewer than `size` items with clicks are left.
    """
    drawn = np.empty((len(users), size), dtype=np.int64)
    ends = np.searchsorted(taken, np.stack([users, users + 1]) * len(clicks))
    for row, (start, end) in enumerate(ends.T):
        weights = clicks.astype(np.float64)
        weights[taken[start:end] % len(clicks)] = 0
        left = np.count_nonzero(weights)
        if left < size:
            raise DataError(
                f"a user took so many of the items with clicks in the training period that {left} are left to draw, "
                f"where an impression needs {size}",
                where=where,
                field="negatives.popular_per_click",
                remedy="lower negatives.popular_per_click on the card, or add items",
            )
        drawn[row] = rng.choice(len(clicks), size=size, replace=False, p=weights / weights.sum())
    return drawn


def contains(sorted_keys: IntArray, keys: IntArray) -> BoolArray:
    """Whether each of `keys` is among `sorted_keys`."""
    if not len(sorted_keys):
        return np.zeros(keys.shape, dtype=np.bool_)
    place = np.minimum(np.searchsorted(sorted_keys, keys), len(sorted_keys) - 1)
    found: BoolArray = sorted_keys[place] == keys
    return found


def _unfit(users: IntArray, drawn: IntArray, taken: IntArray, item_count: int) -> BoolArray:
    """Which places hold an item the user took, or one that stands further left in the same row."""
    bad = contains(taken, users[:, None] * item_count + drawn)
    order = np.argsort(drawn, axis=1, kind="stable")
    ranked = np.take_along_axis(drawn, order, axis=1)
    repeated = np.zeros_like(bad)
    repeated[:, 1:] = ranked[:, 1:] == ranked[:, :-1]
    again = np.zeros_like(bad)
    np.put_along_axis(again, order, repeated, axis=1)
    return bad | again


def _check_room(users: IntArray, taken: IntArray, item_count: int, size: int, where: str) -> None:
    counts = np.bincount(taken // item_count, minlength=int(users.max(initial=0)) + 1)
    short = np.unique(users[item_count - counts[users] < size])
    if len(short):
        raise DataError(
            f"{len(short)} users took so many of the {item_count} items that fewer than {size} are left to draw",
            where=where,
            field="negatives",
            remedy="lower negatives.train_per_click or negatives.eval_per_click on the card, or add items",
        )
