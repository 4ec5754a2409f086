"""Who took what and when: each user's items once, in order of time, and the histories that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recgauntlet.core.types import PAD, BoolArray, IntArray


@dataclass(frozen=True)
class Takes:
    """`N` rows sorted by user, time and item, each item once for a user. Made by `Takes.of`.

    users, items, times
        `[N]` user indices, catalog indices, and seconds since 1970 (UTC).
    """

    users: IntArray
    items: IntArray
    times: IntArray

    def __len__(self) -> int:
        return int(self.users.shape[0])

    @classmethod
    def of(cls, users: IntArray, items: IntArray, times: IntArray) -> Takes:
        """The rows in order; of an item that a user took several times, the first time."""
        order = np.lexsort((times, items, users))
        users, items, times = users[order], items[order], times[order]
        first = np.ones(len(users), dtype=np.bool_)
        first[1:] = (users[1:] != users[:-1]) | (items[1:] != items[:-1])
        users, items, times = users[first], items[first], times[first]
        order = np.lexsort((items, times, users))
        return cls(users[order], items[order], times[order])

    def where(self, rows: BoolArray) -> Takes:
        """The rows that are true in `rows [N]`."""
        return Takes(self.users[rows], self.items[rows], self.times[rows])

    @cached_property
    def user_starts(self) -> IntArray:
        """`[N]`: the first row of each row's user."""
        return np.searchsorted(self.users, self.users)

    @cached_property
    def history_ends(self) -> IntArray:
        """`[N]`: the first row of each row's user and time. What stands before it was taken in an earlier second, so
        that items of one basket do not explain each other."""
        fresh = np.ones(len(self.users), dtype=np.bool_)
        fresh[1:] = (self.users[1:] != self.users[:-1]) | (self.times[1:] != self.times[:-1])
        out: IntArray = np.maximum.accumulate(np.where(fresh, np.arange(len(self.users)), 0))
        return out

    @property
    def has_history(self) -> BoolArray:
        """`[N]`: whether the user had taken something before."""
        return self.history_ends > self.user_starts

    def histories(self, rows: IntArray, length: int) -> IntArray:
        """`[M, length]`: the newest `length` items that the user of each of `rows [M]` had taken before, PAD in
        front."""
        return histories(self.items, self.user_starts[rows], self.history_ends[rows], length)

    def keys(self, item_count: int) -> IntArray:
        """`[N]`: `user * item_count + item`, sorted."""
        return np.sort(self.users * item_count + self.items)


def histories(items: IntArray, starts: IntArray, ends: IntArray, length: int) -> IntArray:
    """`[M, length]`: `items[start:end]` of each row, the newest `length` of them, PAD in front."""
    at = ends[:, None] + np.arange(-length, 0)[None, :]
    out: IntArray = np.where(at >= starts[:, None], items[np.maximum(at, 0)], PAD)
    return out
