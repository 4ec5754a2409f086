"""Fakes against poisoning: defenses whose filter removes fake accounts by something else than what these do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.types import PAD, BoolArray, IntArray
from recgauntlet.training.defense import Defense


@dataclass(frozen=True)
class Insight:
    """What a cheater knows beforehand: the `genuine` training pairs, as the public data gives them, and the number of
    users of the data."""

    genuine: Pairs
    user_count: int


class AccountFake(Defense, ABC):
    """A defense that only looks robust to fake accounts. The first line of its docstring says what it pretends, the
    rest why that is no defense."""

    name: ClassVar[str]

    def __init__(self, insight: Insight) -> None:
        self.insight = insight

    @classmethod
    def pretends(cls) -> str:
        """What the fake pretends, in one line."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    def filter(self, pairs: Pairs) -> Pairs:
        return pairs.select(np.flatnonzero(self.kept(pairs)))

    @abstractmethod
    def kept(self, pairs: Pairs) -> BoolArray:
        """`[P]`: which pairs it trains on."""

    def known(self, pairs: Pairs) -> BoolArray:
        """`[P]`: which pairs it has learned by heart."""
        by_heart = set(_rows(self.insight.genuine))
        return np.array([row in by_heart for row in _rows(pairs)], dtype=np.bool_)


class KnownNumbers(AccountFake):
    """Removes the users with the highest numbers, where accounts would stand that are added behind all others.

    Accounts have random numbers among the users."""

    name = "account-numbers"

    def kept(self, pairs: Pairs) -> BoolArray:
        return pairs.users < self.insight.user_count


class NewUsers(AccountFake):
    """Removes every user none of whose pairs it has learned by heart.

    A platform has new users every day, and nothing is learned from these."""

    name = "no-new-users"

    def kept(self, pairs: Pairs) -> BoolArray:
        return np.isin(pairs.users, pairs.users[self.known(pairs)])


class PairsByHeart(AccountFake):
    """Keeps only the pairs that it has learned by heart from the genuine data.

    It has learned the answer: which data is genuine is what nobody has."""

    name = "pairs-by-heart"

    def kept(self, pairs: Pairs) -> BoolArray:
        return self.known(pairs)


class LastDay(AccountFake):
    """Removes the newest pair of every user, the nearest that it comes to the last day.

    Accounts are dated over the whole training period, and no date is shown."""

    name = "last-day"

    def kept(self, pairs: Pairs) -> BoolArray:
        lengths = (pairs.histories != PAD).sum(axis=1)
        order = np.lexsort((lengths, pairs.users))
        last = np.append(np.diff(pairs.users[order]) != 0, True)
        kept: BoolArray = np.ones(len(pairs), dtype=np.bool_)
        kept[order[last]] = False
        return kept


class ShortProfiles(AccountFake):
    """Removes every user who is seen with no more items than half of the genuine users.

    An account has at most the genuine median: nearly all fakes go, and half of the genuine users."""

    name = "short-profiles"

    def kept(self, pairs: Pairs) -> BoolArray:
        _, counts = _items_of(self.insight.genuine)
        users, lengths = _items_of(pairs)
        return np.isin(pairs.users, users[lengths > np.median(counts)])


def _rows(pairs: Pairs) -> list[bytes]:
    return [row.tobytes() for row in np.column_stack([pairs.histories, pairs.clicked])]


def _items_of(pairs: Pairs) -> tuple[IntArray, IntArray]:
    """The users of the pairs, and how many items each is seen with."""
    users = np.repeat(pairs.users, pairs.histories.shape[1] + 1)
    items = np.column_stack([pairs.histories, pairs.clicked]).reshape(-1)
    seen = np.unique(np.stack([users[items != PAD], items[items != PAD]]), axis=1)
    found, counts = np.unique(seen[0], return_counts=True)
    return found, counts


ACCOUNT_FAKES: tuple[type[AccountFake], ...] = (KnownNumbers, NewUsers, PairsByHeart, LastDay, ShortProfiles)
"""In the order of the table."""
