"""Attacks on training data that each break one rule."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np

from recgauntlet import (
    FakeAccounts,
    PoisonBudget,
    Poisoning,
    PoisoningKnowledge,
    Randomness,
    Targets,
    dated,
    targets_of,
)


class TargetsAlone(Poisoning):
    """Breaks none: accounts that take targets alone."""

    name = "under-test"

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        profiles = [
            rng.numpy(account).permutation(targets_of(account, targets, budget.length))
            for account in range(budget.accounts)
        ]
        return dated(profiles, knowledge, rng.child("times"))


class Positional(TargetsAlone):
    def __init__(self, share: float = 0.5) -> None:
        self.share = share


class Crashes(TargetsAlone):
    def accounts(self, *given: Any) -> FakeAccounts:
        raise IndexError("oh")


class Clips(TargetsAlone):
    def __init__(self, *, share: float = 1.0) -> None:
        self.share = min(share, 0.9)


class GivesFractions(TargetsAlone):
    def accounts(self, *given: Any) -> FakeAccounts:
        made = super().accounts(*given)
        return replace(made, times=made.times + 0.5)


class OneTooMany(TargetsAlone):
    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        return super().accounts(knowledge, targets, replace(budget, accounts=budget.accounts + 1), rng)


class LeavesTargetsOut(TargetsAlone):
    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        tail = Targets({"tail": targets.sets["tail"]})
        return super().accounts(knowledge, tail, budget, rng)


class RollsDice(TargetsAlone):
    def accounts(self, *given: Any) -> FakeAccounts:
        made = super().accounts(*given)
        one = np.random.randint(5)
        return replace(made, accounts=np.where(made.accounts < 5, (made.accounts + one) % 5, made.accounts))


class Remembers(TargetsAlone):
    def __init__(self) -> None:
        self.runs = 0

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        self.runs += 1
        return super().accounts(knowledge, targets, budget, rng.child(str(self.runs)))


class SetsTheEnvironment(TargetsAlone):
    def accounts(self, *given: Any) -> FakeAccounts:
        os.environ["RECGAUNTLET_BROKEN_POISONING"] = str(len(os.environ))
        return super().accounts(*given)
