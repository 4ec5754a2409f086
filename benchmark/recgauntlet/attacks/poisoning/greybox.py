"""The choice among all attacks by surrogates: what an attacker does who knows the data but not the victim."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array

from recgauntlet.attacks.poisoning.base import Knowledge, Poisoning, PoisoningKnowledge, recent_users
from recgauntlet.attacks.poisoning.factors import Factorization
from recgauntlet.attacks.poisoning.learned import PGA, RevAdv
from recgauntlet.attacks.poisoning.profiles import (
    Bandwagon,
    Coattails,
    Copy,
    Placement,
    PopularProfiles,
    RandomProfiles,
    Segment,
)
from recgauntlet.core.poison import FakeAccounts, Targets
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import IntArray
from recgauntlet.data.takes import Takes
from recgauntlet.threats.training_data import PoisonBudget

Floats = npt.NDArray[np.float64]
NEIGHBOURS, SHRINKAGE = 100, 10.0
"""Items that an item proposes, and what is added to the product of the roots in the cosine of two items."""


def single_attacks(*, steps: int = 15) -> tuple[Poisoning, ...]:
    """Every attack that chooses its items itself, the random baseline first; learned ones take `steps` steps."""
    return (
        RandomProfiles(),
        PopularProfiles(),
        Bandwagon(),
        Segment(),
        Coattails(),
        Copy(),
        Placement(),
        PGA(steps=steps),
        RevAdv(steps=steps),
    )


@dataclass(kw_only=True, eq=False)
class GreyBox(Poisoning):
    """The attack that raises the tail targets most in two surrogates: a matrix factorization and a neighbour model.

    Every other attack makes accounts within the budget; both surrogates are trained on each set of them. The win rate
    of the tail targets (all targets where there is no such set) among recent users is averaged over the two, because
    what lifts items in one family of models may do little in the other. The table's header names the choice.

    Parameters
    ----------
    steps
        Of the learned attacks.
    """

    name: ClassVar[str] = "greybox"
    knowledge: ClassVar[Knowledge] = "training-data"

    steps: int = 15

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        candidates = self.candidates(knowledge, targets, budget, rng)
        best = self.ranked(knowledge, targets, candidates)[0]
        return replace(candidates[best], chosen=(best,))

    def ranked(
        self, knowledge: PoisoningKnowledge, targets: Targets, candidates: Mapping[str, FakeAccounts]
    ) -> tuple[str, ...]:
        """The names of `candidates`, the most harmful first."""
        rates = self.win_rates(knowledge, targets, candidates)
        return tuple(sorted(rates, key=lambda name: -sum(rates[name])))

    def candidates(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> dict[str, FakeAccounts]:
        """The accounts of every other attack, by its name; each attack knows what it knows alone."""
        public = replace(knowledge, training=None)
        return {
            attack.name: attack.accounts(
                public if attack.knowledge == "public" else knowledge, targets, budget, rng.child(attack.name)
            )
            for attack in single_attacks(steps=self.steps)
        }

    def win_rates(
        self, knowledge: PoisoningKnowledge, targets: Targets, candidates: Mapping[str, FakeAccounts]
    ) -> dict[str, tuple[float, float]]:
        """The win rate of the tail targets after each of `candidates`, in the factorization and in the neighbour
        model."""
        if knowledge.training is None:
            raise ValueError("the surrogates need the genuine training interactions")
        wanted = targets.sets.get("tail", targets.items)
        size, training = len(knowledge.catalog), knowledge.training
        audience = recent_users(knowledge, training)
        rates = {}
        for name, accounts in candidates.items():
            rows = _rows(knowledge.before.joined(accounts), size)
            scores = (_factorized(training, size, rows, audience), _neighbours(training, size, rows, audience))
            rates[name] = (_win_rate(scores[0], wanted), _win_rate(scores[1], wanted))
        return rates


def _rows(accounts: FakeAccounts, size: int) -> csr_array:
    ones = np.ones(len(accounts))
    return csr_array((ones, (accounts.accounts, accounts.items)), shape=(accounts.count, size))


def _factorized(training: Takes, size: int, rows: csr_array, audience: IntArray) -> Floats:
    """`[V, N]`: the scores of the surrogate of the learned attacks for the users `audience [V]`."""
    surrogate = Factorization.of(training, size, rank=16, alpha=10.0, ridge=10.0)
    items = surrogate.trained(surrogate.start(Randomness(0, "greybox")), torch.from_numpy(rows.toarray()), 10)
    scores: Floats = (surrogate.users(items)[torch.from_numpy(audience)] @ items.T).numpy()
    return scores


def _neighbours(training: Takes, size: int, rows: csr_array, audience: IntArray) -> Floats:
    """`[V, N]`: the sum of the shrunk cosines of an item to the items of each user that propose it (Deshpande and
    Karypis 2004)."""
    users = np.unique(training.users, return_inverse=True)[1]
    genuine = csr_array((np.ones(len(users)), (users, training.items)), shape=(int(users.max()) + 1, size))
    shared = (genuine.T @ genuine + rows.T @ rows).toarray()
    roots = np.sqrt(np.diagonal(shared))
    np.fill_diagonal(shared, 0.0)
    cosines = shared / (np.outer(roots, roots) + SHRINKAGE)
    far = np.argsort(-cosines, axis=1, kind="stable")[:, NEIGHBOURS:]
    np.put_along_axis(cosines, far, 0.0, axis=1)
    scores: Floats = genuine[audience] @ cosines
    return scores


def _win_rate(scores: Floats, wanted: IntArray) -> float:
    """The share of the other items that each wanted one outranks, ties half: the mean over users and wanted items."""
    others = scores.shape[1] - 1
    won = [(own > scores).sum(axis=1) + ((own == scores).sum(axis=1) - 1) / 2 for own in scores.T[wanted, :, None]]
    return float(np.mean(won) / max(1, others))
