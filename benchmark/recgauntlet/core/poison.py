"""What poisoning adds to the training data: fake accounts, or plays in genuine ones, and the items they are to lift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    chosen
        Where the attack chose among others: those that made the accounts, in their order.
    """

    accounts: IntArray
    items: IntArray
    times: IntArray
    chosen: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.accounts.shape[0])

    @property
    def count(self) -> int:
        """The number of accounts."""
        return int(self.accounts.max(initial=-1)) + 1

    @classmethod
    def none(cls) -> FakeAccounts:
        """No account."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, nothing)

    def first(self, count: int) -> FakeAccounts:
        """The accounts 0 to `count - 1`."""
        kept = self.accounts < count
        return FakeAccounts(self.accounts[kept], self.items[kept], self.times[kept], self.chosen)

    def joined(self, other: FakeAccounts) -> FakeAccounts:
        """These accounts and then those of `other`, which are numbered on."""
        parts = ((self.accounts, other.accounts + self.count), (self.items, other.items), (self.times, other.times))
        accounts, items, times = (np.concatenate(part) for part in parts)
        return FakeAccounts(accounts, items, times, self.chosen + other.chosen)


@dataclass(frozen=True)
class Insertions:
    """`N` interactions that are put into accounts of genuine users.

    users
        `[N]` user indices.
    items
        `[N]` catalog indices.
    places
        `[N]` the place of the genuine training interaction that each is put before; the place behind the user's last
        one puts it at the end.
    """

    users: IntArray
    items: IntArray
    places: IntArray

    def __len__(self) -> int:
        return int(self.users.shape[0])

    @property
    def count(self) -> int:
        """The number of accounts that have one."""
        return len(np.unique(self.users))

    @classmethod
    def none(cls) -> Insertions:
        """No interaction."""
        return cls(*(np.zeros(0, dtype=np.int64) for _ in range(3)))

    def first(self, count: int) -> Insertions:
        """The first `count`."""
        return Insertions(self.users[:count], self.items[:count], self.places[:count])

    def keys(self, item_count: int) -> IntArray:
        """`[N]`: `user * item_count + item`."""
        return self.users * item_count + self.items


Poison = FakeAccounts | Insertions


@dataclass(frozen=True)
class Targets:
    """What an attack is for.

    sets
        The items that the attacker wants to lift: catalog indices `[K]` by the name of their set ("tail").
    collective
        `[C]` the genuine users who take part in it; their lists are not measured.
    """

    sets: Mapping[str, IntArray]
    collective: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @property
    def items(self) -> IntArray:
        """`[T]`: the targets of all sets, set after set."""
        return np.concatenate([np.zeros(0, dtype=np.int64), *self.sets.values()])

    @property
    def places(self) -> dict[str, slice]:
        """Where the targets of each set stand in `items`."""
        ends = np.cumsum([0, *map(len, self.sets.values())]).tolist()
        return {name: slice(*ends[number : number + 2]) for number, name in enumerate(self.sets)}
