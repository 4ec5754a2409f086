"""What poisoning adds to the training data: fake accounts, and the items that they are to lift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recgauntlet.core.types import IntArray


@dataclass(frozen=True)
class FakeAccounts:
    """`N` interactions of accounts that an attacker made.

    accounts
        `[N]` which account, numbered from 0.
    items
        `[N]` catalog indices.
    times
        `[N]` seconds since 1970 (UTC), or places in the account's own order, from 0.
    """

    accounts: IntArray
    items: IntArray
    times: IntArray

    def __len__(self) -> int:
        return int(self.accounts.shape[0])

    @property
    def count(self) -> int:
        """The number of accounts."""
        return int(self.accounts.max(initial=-1)) + 1

    @classmethod
    def none(cls) -> FakeAccounts:
        """No account."""
        return cls(*(np.zeros(0, dtype=np.int64) for _ in range(3)))

    def first(self, count: int) -> FakeAccounts:
        """The accounts 0 to `count - 1`."""
        kept = self.accounts < count
        return FakeAccounts(self.accounts[kept], self.items[kept], self.times[kept])

    def joined(self, other: FakeAccounts) -> FakeAccounts:
        """These accounts and then those of `other`, which are numbered on."""
        parts = ((self.accounts, other.accounts + self.count), (self.items, other.items), (self.times, other.times))
        return FakeAccounts(*(np.concatenate(part) for part in parts))


@dataclass(frozen=True)
class Targets:
    """The items that an attacker wants to lift: catalog indices `[K]` by the name of their set ("tail")."""

    sets: Mapping[str, IntArray]

    @property
    def items(self) -> IntArray:
        """`[T]`: the targets of all sets, set after set."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *self.sets.values()])

    @property
    def places(self) -> dict[str, slice]:
        """Where the targets of each set stand in `items`."""
        ends = np.cumsum([0, *map(len, self.sets.values())]).tolist()
        return {name: slice(*ends[number : number + 2]) for number, name in enumerate(self.sets)}
