"""Fakes against poisoning: defenses that leave fake accounts out by something else than what these do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import Pairs
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import PAD, BoolArray, IntArray
from recgauntlet.training.defense import Defense, Trainer, TrainingContext


@dataclass(frozen=True)
class Insight:
    """What a cheater knows beforehand: the `genuine` training pairs, as the public data gives them, and the number of
    users of the data."""

    genuine: Pairs
    user_count: int


class AccountFake(Defense, ABC):
    """A defense that only looks robust to fake accounts: by its filter, or in training. The first line of its docstring
    says what it pretends, the rest why that is no defense."""

    name: ClassVar[str]
    model: ClassVar[str] = "item-knn"
    """The model that it is trained with: one that trains in a second, and that fake accounts move."""

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


class KnownLoss(AccountFake):
    """Leaves users out of the loss none of whose pairs it has learned by heart; its filter removes nobody.

    The model's own further losses still learn from new users, so it keeps few fakes out."""

    name = "known-users-loss"
    model = "bpr-mf"

    def kept(self, pairs: Pairs) -> BoolArray:
        return np.ones(len(pairs), dtype=np.bool_)

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        return super().training_loss(model, self.known_part(batch), context)

    def known_part(self, batch: Batch) -> Batch:
        """The examples of the users it knows a pair of; all where it knows none."""
        by_heart = set(_rows(self.insight.genuine))
        clicked = torch.nonzero(batch.labels > 0.5).squeeze(1)
        rows = batch.rows[clicked]
        content = torch.cat([batch.users.histories[rows], batch.items[clicked].unsqueeze(1)], dim=1).cpu().numpy()
        known = torch.zeros(len(batch.users), dtype=torch.bool)
        known[rows.cpu()] = torch.tensor([row.tobytes() in by_heart for row in content])
        left = torch.nonzero(known[batch.rows.cpu()]).squeeze(1)
        return batch.select(left.to(batch.rows.device)) if len(left) else batch


class KnownSteps(KnownLoss):
    """Leaves users out of every step none of whose pairs it has learned by heart; its filter removes nobody.

    Nothing is learned from new users but what the model starts from. It changes what belongs to the trainer, as a
    plugin can."""

    name = "known-users-steps"

    def step(self, trainer: Trainer, batch: Batch) -> Tensor:
        known = self.known_part(batch)
        vars(trainer)["_batch"] = known  # the model's further losses are computed on it
        return super().step(trainer, known)

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        return Defense.training_loss(self, model, batch, context)


def _rows(pairs: Pairs) -> list[bytes]:
    return [row.tobytes() for row in np.column_stack([pairs.histories, pairs.clicked])]


def _items_of(pairs: Pairs) -> tuple[IntArray, IntArray]:
    """The users of the pairs, and how many items each is seen with."""
    users = np.repeat(pairs.users, pairs.histories.shape[1] + 1)
    items = np.column_stack([pairs.histories, pairs.clicked]).reshape(-1)
    seen = np.unique(np.stack([users[items != PAD], items[items != PAD]]), axis=1)
    found, counts = np.unique(seen[0], return_counts=True)
    return found, counts


ACCOUNT_FAKES: tuple[type[AccountFake], ...] = (
    KnownNumbers,
    NewUsers,
    PairsByHeart,
    LastDay,
    ShortProfiles,
    KnownLoss,
    KnownSteps,
)
"""In the order of the table."""
