"""Plays put into accounts that exist: listeners who act together put targets into their own playlists.

Not to be confused with the attack `placement`, which makes accounts of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recgauntlet.attacks.poisoning.base import PoisoningAttack, PoisoningKnowledge
from recgauntlet.core.poison import Insertions, Targets
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import IntArray
from recgauntlet.data.takes import Takes
from recgauntlet.threats.training_data import PoisonBudget


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


@dataclass(kw_only=True, eq=False)
class RandomInsertion(Insertion):
    """Targets by turns, each at a random place of a random account: the yardstick ("random" in Baumann and
    Mendler-Dünner 2024)."""

    name: ClassVar[str] = "insert-random"
    is_random: ClassVar[bool] = True
    citation: ClassVar[str] = bibtex("baumann2024algorithmic")

    def insertions(
        self, knowledge: PoisoningKnowledge, own: Takes, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> Insertions:
        return _by_turns(own, targets, budget.insertions, rng.numpy().random((len(targets.items), len(own))))


@dataclass(kw_only=True, eq=False)
class InsertionBehindPredictor(Insertion):
    """Targets by turns, each behind the item of the collective that then predicts it most: where the share of the
    item's users who have the target, `(users of both + 1) / (users of the item + 1)`, is largest (after "DirLoF" of
    Baumann and Mendler-Dünner 2024, which puts a song behind the rarest item of a playlist).

    Deviations: the paper counts pairs of neighbours in playlists; here users of both are counted, and those that a
    target has already move it behind items that predict it anyway.
    """

    name: ClassVar[str] = "insert-behind-predictor"
    citation: ClassVar[str] = bibtex("baumann2024algorithmic")

    def insertions(
        self, knowledge: PoisoningKnowledge, own: Takes, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> Insertions:
        both = knowledge.covisits[targets.items, :].toarray()
        share = (both + 1) / (knowledge.popularity + 1)
        # of equal shares any
        ties = rng.numpy().random((len(targets.items), len(own))) * 1e-9
        return _by_turns(own, targets, budget.insertions, share[:, own.items] + ties)


def _by_turns(
    own: Takes, targets: Targets, count: int, values: np.ndarray[tuple[int, int], np.dtype[np.float64]]
) -> Insertions:
    """`count` plays, the targets by turns: target t behind the row r of `own` with the largest `values[t, r]`, among
    those whose user does not have t and behind which nothing stands yet. Fewer where there are no more."""
    found: list[tuple[int, int, int]] = []
    behind = _places_behind(own)
    free = np.ones(len(own), dtype=np.bool_)
    open_ = [~np.isin(own.users, own.users[own.items == target]) for target in targets.items]
    turn = 0
    while len(found) < count and any((free & mask).any() for mask in open_):
        number = turn % len(open_)
        turn += 1
        legal = free & open_[number]
        if not legal.any():
            continue
        row = int(np.argmax(np.where(legal, values[number], -np.inf)))
        user, place = int(own.users[row]), int(behind[row])
        found.append((user, int(targets.items[number]), place))
        free &= ~((own.users == user) & (behind == place))
        open_[number] &= own.users != user
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
