"""Harmless new accounts: the control for defenses that look for what is new, or for the form of fake accounts."""

from __future__ import annotations

import numpy as np

from recgauntlet.attacks.poisoning.base import PoisoningKnowledge, dated
from recgauntlet.core.card import TrainingDataThreat
from recgauntlet.core.poison import FakeAccounts, Targets
from recgauntlet.core.rng import Randomness
from recgauntlet.data.interactions import Interactions
from recgauntlet.threats.training_data import PoisonBudget

LEAST_NEWCOMERS = 20
"""Fewer accounts are too few for a share of them. A demo track's budget has five."""
KEPT_ITEMS = 0.75
"""Share of a genuine user's items that a newcomer takes at most."""


def draw_newcomers(
    genuine: Interactions, targets: Targets, threat: TrainingDataThreat, rng: Randomness
) -> FakeAccounts:
    """Accounts by all rules of fake ones that take what genuine users take, and none of the `targets`.

    Each takes some items of one genuine user, drawn, in an order that is drawn: as many as the budget gives an account,
    at most three quarters of the user's. So neither its length nor its dates tell it from a fake account, and its rows
    are in no genuine history. As many as the high tier has, at least LEAST_NEWCOMERS, or as many as there are users.
    """
    budget, training = PoisonBudget.of(threat, "high", genuine), genuine.training
    own = training.where(~np.isin(training.items, targets.items))
    users, counts = np.unique(own.users, return_counts=True)
    lengths = np.minimum(budget.length, np.ceil(KEPT_ITEMS * counts).astype(np.int64))
    drawn = rng.child("users").numpy().permutation(len(users))
    longest_first = drawn[np.argsort(-lengths[drawn], kind="stable")]
    chosen = longest_first[: max(budget.accounts, LEAST_NEWCOMERS)]
    profiles = [
        rng.child("items").numpy(int(row)).permutation(own.items[own.users == users[row]])[: lengths[row]]
        for row in chosen
    ]
    return dated(profiles, PoisoningKnowledge.of(genuine, "public"), rng.child("times"))
