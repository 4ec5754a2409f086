"""The contract of a poisoning attack, and what its attacker knows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from scipy.sparse import csr_array

from recgauntlet.core.dataset import Catalog
from recgauntlet.core.plugins import Plugin, find
from recgauntlet.core.poison import FakeAccounts, Targets
from recgauntlet.core.recommender import constructor_defaults
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import IntArray, Scalar
from recgauntlet.data.interactions import Interactions
from recgauntlet.data.takes import Takes
from recgauntlet.threats.training_data import DAY, PoisonBudget

Knowledge = Literal["public", "training-data"]
RECENT = 0.1
"""Share of the training period's interactions that are recent: its last ones."""


@dataclass(frozen=True)
class PoisoningKnowledge:
    """What the attacker knows. A platform shows the first five itself: bestseller lists, "bought together", dates.

    catalog
        The `N` items.
    popularity
        `[N]` genuine users of each item in the training period.
    recent
        `[N]` the same in the last tenth of its interactions; where there is no clock, the same as `popularity`.
    covisits
        `[N, N]` genuine users of both items, 0 on the diagonal.
    moments
        `[D, 2]` the first second of each day on which something was taken, and the first after it, inside the training
        period; none where there is no clock.
    before
        The accounts that were added already (those of the tier before).
    training
        The genuine training interactions, as data for a surrogate; None for an attacker with public knowledge alone.
    """

    catalog: Catalog
    popularity: IntArray
    recent: IntArray
    covisits: csr_array
    moments: IntArray
    before: FakeAccounts
    training: Takes | None = None

    @classmethod
    def of(cls, genuine: Interactions, knowledge: Knowledge) -> PoisoningKnowledge:
        """What an attacker with `knowledge` knows of the `genuine` interactions."""
        training, size = genuine.training, len(genuine.catalog)
        shape = (len(genuine.user_ids), size)
        taken = csr_array((np.ones(len(training), dtype=np.int64), (training.users, training.items)), shape=shape)
        covisits = csr_array(taken.T @ taken)
        covisits.setdiag(0)
        covisits.eliminate_zeros()
        recent, moments = genuine.popularity, np.zeros((0, 2), dtype=np.int64)
        if genuine.has_clock:
            latest = np.sort(training.times)[int((1 - RECENT) * len(training))]
            recent = np.bincount(training.items[training.times >= latest], minlength=size).astype(np.int64)
            days = np.unique(training.times // DAY) * DAY
            first, end = int(training.times.min()), genuine.training_end
            moments = np.stack([np.maximum(days, first), np.minimum(days + DAY, end)], axis=1)
        return cls(
            genuine.catalog,
            genuine.popularity,
            recent,
            covisits,
            moments,
            FakeAccounts.none(),
            training if knowledge == "training-data" else None,
        )

    def with_accounts(self, before: FakeAccounts) -> PoisoningKnowledge:
        """The same, after the accounts `before` were added."""
        return replace(self, before=before)


class PoisoningAttack(ABC):
    """What all attacks on training data have. They return interactions, never verdicts: the verifier checks them, and a
    table that it refuses counts as none. Hyper-parameters are keyword-only constructor arguments.
    """

    name: ClassVar[str]
    """As records name it."""
    knowledge: ClassVar[Knowledge] = "public"
    """What it is given; part of the record."""
    is_random: ClassVar[bool] = False
    """True of the random baseline, which the worst attack must beat."""
    citation: ClassVar[str] = ""
    """BibTeX of the papers it comes from."""
    source: str = ""
    """Of an attack of a plugin: the hash of its source, so that its tables are made again where it was changed."""

    def hyperparameters(self) -> dict[str, Scalar]:
        """Every constructor argument and its value on this object."""
        return {name: getattr(self, name) for name in constructor_defaults(type(self))}


class Poisoning(PoisoningAttack):
    """Makes fake accounts that lift target items in what a model learns."""

    @abstractmethod
    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        """`budget.accounts` new accounts, beside those of `knowledge.before`, of at most `budget.length` items each,
        targets among them."""


def targets_of(account: int, targets: Targets, length: int) -> IntArray:
    """The targets that an account of `length` items holds: all of them, or, where they would be more than half of it,
    as many as that, the next ones for the next account."""
    every = targets.items
    most = min(len(every), max(1, length // 2))
    return every[(account * most + np.arange(most)) % len(every)] if len(every) else every


def recent_users(knowledge: PoisoningKnowledge, training: Takes) -> IntArray:
    """`[V]`: places among the users of `training` in the order of their numbers: of those of its last tenth, or of all
    where there is no clock. The users of tomorrow are more like these."""
    latest = np.sort(training.times)[int((1 - RECENT) * len(training))] if len(knowledge.moments) else 0
    return np.flatnonzero(np.isin(np.unique(training.users), training.users[training.times >= latest]))


def shuffled(profile: IntArray, rng: np.random.Generator) -> IntArray:
    """The items of a profile in random order."""
    return rng.permutation(profile)


def dated(
    profiles: Sequence[IntArray], knowledge: PoisoningKnowledge, rng: Randomness, *, days: int | None = None
) -> FakeAccounts:
    """Accounts that take the items of `profiles`, each in its order, one at a time: at seconds drawn evenly from the
    `days` last days of `knowledge.moments`, from all where that is None. Without a clock at the places 0, 1, 2, ..."""
    moments = knowledge.moments if days is None else knowledge.moments[-days:]
    accounts = np.repeat(np.arange(len(profiles)), [len(profile) for profile in profiles])
    times = [
        _times(len(profile), moments, rng.numpy(account)) if len(moments) else np.arange(len(profile))
        for account, profile in enumerate(profiles)
    ]
    none = [np.zeros(0, dtype=np.int64)]
    return FakeAccounts(accounts, np.concatenate([*none, *profiles]), np.concatenate([*none, *times]))


def _times(count: int, moments: IntArray, rng: np.random.Generator) -> IntArray:
    """`[count]` different seconds in rising order; ValueError where there are not so many."""
    if count > int((moments[:, 1] - moments[:, 0]).sum()):
        raise ValueError(f"the days have no {count} different seconds")
    found = np.zeros(0, dtype=np.int64)
    while len(found) < count:
        day = rng.integers(len(moments), size=count - len(found))
        found = np.unique(np.concatenate([found, rng.integers(moments[day, 0], moments[day, 1])]))
    return found


def find_poisoning(name: str) -> Plugin:
    """The registered attack class `name`; PluginError if it is not installed or no subclass of Poisoning."""
    return find("poisoning", name, base=Poisoning)
