"""Plays put into accounts that exist: listeners who act together put targets into their own playlists.

Not to be confused with the attack `placement`, which makes accounts of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recgauntlet.attacks.poisoning.base import PoisoningAttack, PoisoningKnowledge
from recgauntlet.core.poison import Insertions, Targets
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import IntArray
from recgauntlet.data.takes import Takes
from recgauntlet.threats.training_data import PoisonBudget

Floats = npt.NDArray[np.float64]


class Insertion(PoisoningAttack):
    """Puts targets into the accounts of a collective. The verifier (`recgauntlet.threats.insertions`) has the rules."""

    @abstractmethod
    def insertions(
        self, knowledge: PoisoningKnowledge, own: Takes, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> Insertions:
        """`budget.insertions` plays, the most useful first: a lower tier gets the first of them.

        Parameters
        ----------
        own
            What the collective took in training: of its own accounts an attacker knows everything.
        """


class _Valued(Insertion):
    """Targets by turns, each where its value is largest; of equal values any."""

    citation: ClassVar[str] = bibtex("baumann2024algorithmic")

    def insertions(
        self, knowledge: PoisoningKnowledge, own: Takes, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> Insertions:
        values = np.broadcast_to(self.values(knowledge, own, targets), (len(targets.items), len(own)))
        return _by_turns(own, targets, budget.insertions, values, rng.numpy().permutation(len(own)))

    @abstractmethod
    def values(self, knowledge: PoisoningKnowledge, own: Takes, targets: Targets) -> Floats:
        """`[T, N]` or `[N]`: the value of putting each target behind each of the plays `own`."""


@dataclass(kw_only=True, eq=False)
class RandomInsertion(_Valued):
    """Targets by turns, each at a random place of a random play: the yardstick ("Random" in Baumann and Mendler-Dünner
    2024)."""

    name: ClassVar[str] = "insert-random"
    is_random: ClassVar[bool] = True

    def values(self, knowledge: PoisoningKnowledge, own: Takes, targets: Targets) -> Floats:
        return np.zeros(len(own))


@dataclass(kw_only=True, eq=False)
class InsertionBehindPredictor(_Valued):
    """Targets by turns, each behind the item of the collective that then predicts it most: where the share of the
    item's users who have the target, `(users of both + 1) / (users of the item + 1)`, is largest (after "DirLoF" of
    Baumann and Mendler-Dünner 2024, which puts a song behind the rarest item of a playlist).

    Deviations: the paper goes by rarity alone; here users of both count as well, so that a target also stands behind
    items that point to it already.
    """

    name: ClassVar[str] = "insert-behind-predictor"

    def values(self, knowledge: PoisoningKnowledge, own: Takes, targets: Targets) -> Floats:
        both = knowledge.covisits[targets.items, :].toarray()
        share: Floats = (both + 1) / (knowledge.popularity + 1)
        return share[:, own.items]


@dataclass(kw_only=True, eq=False)
class InsertionBehindPopular(_Valued):
    """Targets by turns, each behind the most popular items of the collective, which most other listeners have too
    (after "InClust" of Baumann and Mendler-Dünner 2024, which aims at contexts that many playlists share).

    Deviation: the paper finds such contexts by clustering; here the popularity of the item before stands for it.
    """

    name: ClassVar[str] = "insert-behind-popular"

    def values(self, knowledge: PoisoningKnowledge, own: Takes, targets: Targets) -> Floats:
        return knowledge.popularity[own.items].astype(np.float64)


@dataclass(kw_only=True, eq=False)
class EarlyInsertion(_Valued):
    """Targets by turns, each near the beginning of the longest histories, so that it stands beside as many other items,
    and in as many histories of later plays, as it can (ours)."""

    name: ClassVar[str] = "insert-early"

    def values(self, knowledge: PoisoningKnowledge, own: Takes, targets: Targets) -> Floats:
        ends = np.searchsorted(own.users, own.users, side="right")
        return (ends - np.arange(len(own))).astype(np.float64)


def _by_turns(own: Takes, targets: Targets, count: int, values: Floats, order: IntArray) -> Insertions:
    """`count` plays, the targets by turns: target t behind the row r of `own` with the largest `values[t, r]`, of equal
    ones the first in `order [N]`, among those whose user does not have t and behind which nothing stands yet. Fewer
    where there are no more."""
    own_values, behind = values[:, order], _places_behind(own)[order]
    users, items = own.users[order], own.items[order]
    found: list[tuple[int, int, int]] = []
    free = np.ones(len(own), dtype=np.bool_)
    legal = [~np.isin(users, users[items == target]) for target in targets.items]
    turn = 0
    while len(found) < count and any((free & mask).any() for mask in legal):
        number = turn % len(legal)
        turn += 1
        possible = free & legal[number]
        if not possible.any():
            continue
        row = int(np.argmax(np.where(possible, own_values[number], -np.inf)))
        found.append((int(users[row]), int(targets.items[number]), int(behind[row])))
        free &= (users != users[row]) | (behind != behind[row])
        legal[number] &= users != users[row]
    rows = np.array(found, dtype=np.int64).reshape(-1, 3)
    return Insertions(rows[:, 0], rows[:, 1], rows[:, 2])


def _places_behind(own: Takes) -> IntArray:
    """`[N]`: the next larger place of the same user behind each row; the place behind the last for the last."""
    following = np.searchsorted(own.users * _SPAN + own.times, own.users * _SPAN + own.times, side="right")
    inside = np.minimum(following, len(own) - 1)
    same = (following < len(own)) & (own.users[inside] == own.users)
    out: IntArray = np.where(same, own.times[inside], own.times + 1)
    return out


_SPAN = 2**32
"""More than any place."""
