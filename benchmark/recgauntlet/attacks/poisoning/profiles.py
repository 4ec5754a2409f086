"""Poisoning by rules of thumb: profiles of targets and fillers, without a surrogate model.

All have the same budget: `length` items an account, the targets among them. So the fillers are fewer than in the
papers, which count the targets on top, and which give each attack a number of fillers of its own.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from recgauntlet.attacks.poisoning.base import Knowledge, Poisoning, PoisoningKnowledge, dated, shuffled, targets_of
from recgauntlet.core.poison import FakeAccounts, Targets
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import IntArray
from recgauntlet.threats.training_data import PoisonBudget

Floats = npt.NDArray[np.float64]


class _Profiles(Poisoning):
    """Targets among fillers in random order, on random days."""

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        profiles = []
        for account in range(budget.accounts):
            draw = rng.child("profile").numpy(account)
            own = targets_of(account, targets, budget.length)
            fillers = self.fillers(knowledge, targets, own, budget.length - len(own), draw)
            profiles.append(shuffled(np.concatenate([own, fillers]), draw))
        return dated(profiles, knowledge, rng.child("times"))

    @abstractmethod
    def fillers(
        self, knowledge: PoisoningKnowledge, targets: Targets, own: IntArray, count: int, rng: np.random.Generator
    ) -> IntArray:
        """At most `count` items that are no targets, for an account with the targets `own`."""


def _drawn(weights: Floats, targets: Targets, count: int, rng: np.random.Generator) -> IntArray:
    """At most `count` different items that are no targets, drawn one after the other by `weights [N]`."""
    weights = weights.astype(np.float64).copy()
    weights[targets.items] = 0.0
    count = min(count, int((weights > 0).sum()))
    if not count:
        return np.zeros(0, dtype=np.int64)
    return rng.choice(len(weights), size=count, replace=False, p=weights / weights.sum())


def _bestsellers(popularity: IntArray, targets: Targets, count: int) -> IntArray:
    """The `count` most popular items that are no targets, the first in the catalog of equally popular ones."""
    order = np.argsort(-popularity, kind="stable")
    order = order[~np.isin(order, targets.items) & (popularity[order] > 0)]
    return order[:count]


@dataclass(kw_only=True, eq=False)
class RandomProfiles(_Profiles):
    """Fillers drawn evenly from the items that were taken: the yardstick (Lam and Riedl 2004, "RandomBot").

    Deviation: there are no ratings, so no rating of a filler is drawn.
    """

    name: ClassVar[str] = "random"
    is_random: ClassVar[bool] = True
    citation: ClassVar[str] = bibtex("lam2004shilling")

    def fillers(
        self, knowledge: PoisoningKnowledge, targets: Targets, own: IntArray, count: int, rng: np.random.Generator
    ) -> IntArray:
        return _drawn((knowledge.popularity > 0).astype(np.float64), targets, count, rng)


@dataclass(kw_only=True, eq=False)
class PopularProfiles(_Profiles):
    """Fillers drawn by popularity, as genuine users would: for implicit feedback what the average attack is for ratings
    (Lam and Riedl 2004, "AverageBot"), whose fakes look like the average user."""

    name: ClassVar[str] = "popular"
    citation: ClassVar[str] = bibtex("lam2004shilling")

    def fillers(
        self, knowledge: PoisoningKnowledge, targets: Targets, own: IntArray, count: int, rng: np.random.Generator
    ) -> IntArray:
        return _drawn(knowledge.popularity.astype(np.float64), targets, count, rng)


@dataclass(kw_only=True, eq=False)
class Bandwagon(_Profiles):
    """Some bestsellers, and fillers drawn evenly (Mobasher et al. 2007).

    Deviation: the paper names a handful of bestsellers by hand; here `share` of the fillers are drawn from the most
    popular `top` of the items.

    Parameters
    ----------
    share
        Of the fillers that are bestsellers.
    top
        Share of the catalog that counts as such.
    """

    name: ClassVar[str] = "bandwagon"
    citation: ClassVar[str] = bibtex("mobasher2007trustworthy")

    share: float = 0.5
    top: float = 0.02

    def fillers(
        self, knowledge: PoisoningKnowledge, targets: Targets, own: IntArray, count: int, rng: np.random.Generator
    ) -> IntArray:
        popular = round(self.share * count)
        best = _bestsellers(knowledge.popularity, targets, max(popular, round(self.top * len(knowledge.catalog))))
        chosen = rng.choice(best, size=min(popular, len(best)), replace=False)
        others = (knowledge.popularity > 0).astype(np.float64)
        others[chosen] = 0.0
        return np.concatenate([chosen, _drawn(others, targets, count - len(chosen), rng)])


@dataclass(kw_only=True, eq=False)
class Segment(_Profiles):
    """Fillers that genuine users of one target take too: aimed at the users who may like it (Mobasher et al. 2007).

    Deviations: the paper's segment is chosen by hand (horror films); here an account goes by one of its targets, the
    next account by the next, and fillers are drawn by `users of both / root of the filler's users`, the cosine up to a
    factor. Where there are too few, the rest is drawn by popularity.
    """

    name: ClassVar[str] = "segment"
    citation: ClassVar[str] = bibtex("mobasher2007trustworthy")

    def fillers(
        self, knowledge: PoisoningKnowledge, targets: Targets, own: IntArray, count: int, rng: np.random.Generator
    ) -> IntArray:
        target = int(rng.choice(own))
        shared = knowledge.covisits[[target], :].toarray()[0]
        chosen = _drawn(shared / np.sqrt(np.maximum(1, knowledge.popularity)), targets, count, rng)
        others = knowledge.popularity.astype(np.float64)
        others[chosen] = 0.0
        return np.concatenate([chosen, _drawn(others, targets, count - len(chosen), rng)])


@dataclass(kw_only=True, eq=False)
class Coattails(_Profiles):
    """Every account takes the same bestsellers beside the targets, so that "taken together" lists of bestsellers show
    targets (Yang, Gong and Cai 2017, fake co-visits).

    Deviation: the paper solves for the number of fake co-visits that each anchor needs, within a budget of co-visits;
    here the most popular items are the anchors and all get the same number, because the budget counts accounts.
    """

    name: ClassVar[str] = "coattails"
    citation: ClassVar[str] = bibtex("yang2017fake")

    def fillers(
        self, knowledge: PoisoningKnowledge, targets: Targets, own: IntArray, count: int, rng: np.random.Generator
    ) -> IntArray:
        return _bestsellers(knowledge.popularity, targets, count)


@dataclass(kw_only=True, eq=False)
class Copy(Poisoning):
    """The profile of a genuine user, in its order, with the targets put at random places: where Tang et al. (2020)
    start from.

    Deviations: the last items of a profile are copied, as many as the budget leaves; profiles that are shorter are only
    used where none is long enough.
    """

    name: ClassVar[str] = "copy"
    knowledge: ClassVar[Knowledge] = "training-data"
    citation: ClassVar[str] = bibtex("tang2020revisiting")

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        if knowledge.training is None:
            raise ValueError("copying needs the genuine training interactions")
        kept = ~np.isin(knowledge.training.items, targets.items)
        users, items = knowledge.training.users[kept], knowledge.training.items[kept]
        starts = np.flatnonzero(np.diff(users, prepend=-1))
        lengths = np.diff(starts, append=len(users))
        profiles = []
        for account in range(budget.accounts):
            draw = rng.child("profile").numpy(account)
            own = targets_of(account, targets, budget.length)
            count = min(budget.length - len(own), int(lengths.max()))
            user = int(draw.choice(np.flatnonzero(lengths >= count)))
            end = int(starts[user] + lengths[user])
            copied = items[end - count : end]
            profiles.append(
                np.insert(copied, np.sort(draw.integers(0, count + 1, size=len(own))), draw.permutation(own))
            )
        return dated(profiles, knowledge, rng.child("times"))


@dataclass(kw_only=True, eq=False)
class Placement(Poisoning):
    """For models of order: each target directly behind an item that is popular at the moment, in the last days of the
    training period (after Baumann and Mendler-Dünner 2024, who place a song next to popular ones in playlists).

    A model that has learned what follows a bestseller then proposes a target. Deviations: whole accounts are made, not
    real playlists edited; the anchor is drawn by recent popularity, where the paper also chooses rare ones, for which
    few placements are enough.

    Parameters
    ----------
    days
        How many days an account is active: the last ones.
    """

    name: ClassVar[str] = "placement"
    citation: ClassVar[str] = bibtex("baumann2024algorithmic")

    days: int = 14

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        profiles = []
        for account in range(budget.accounts):
            draw = rng.child("profile").numpy(account)
            own = draw.permutation(targets_of(account, targets, budget.length))
            anchors = _drawn(knowledge.recent.astype(np.float64), targets, budget.length - len(own), draw)
            profiles.append(_behind(anchors, own))
        return dated(profiles, knowledge, rng.child("times"), days=self.days)


def _behind(anchors: IntArray, own: IntArray) -> IntArray:
    """The anchors in their order, each of `own` behind one of the last of them; what has no anchor is at the end."""
    first = max(0, len(anchors) - len(own))
    places = np.minimum(first + 1 + np.arange(len(own)), len(anchors))
    return np.insert(anchors, places, own)
