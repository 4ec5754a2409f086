"""Poisoning attacks, registered as a stranger's package would: one that is honest, and some that are not."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from recgauntlet import FakeAccounts, PoisonBudget, Poisoning, PoisoningKnowledge, Randomness, Targets, dated


class TargetsAlone(Poisoning):
    """Accounts that take every target and nothing else."""

    name = "targets-alone"

    def __init__(self, *, most: int = 4) -> None:
        self.most = most

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        return dated([targets.items[: self.most]] * budget.accounts, knowledge, rng)


class ReplacesTheVerifier(TargetsAlone):
    """Makes the verifier accept everything, and one account too many."""

    name = "replaces-the-verifier"

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        from recgauntlet.threats.training_data import PoisonVerifier

        PoisonVerifier.faults = lambda self, table: []  # type: ignore[method-assign]
        return super().accounts(knowledge, targets, replace(budget, accounts=budget.accounts + 1), rng)


class ReadsTheData(TargetsAlone):
    """Reads every file below $TEST_TARGET."""

    name = "reads-the-data"

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        for path in Path(os.environ["TEST_TARGET"]).rglob("*.*"):
            path.read_bytes()
        return super().accounts(knowledge, targets, budget, rng)


class NumbersThatAreNone(TargetsAlone):
    """Gives accounts with numbers that are none."""

    name = "numbers-that-are-none"

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        made = super().accounts(knowledge, targets, budget, rng)
        return replace(made, times=np.full(len(made), np.nan))


class NegativeAccounts(TargetsAlone):
    """Numbers accounts below 0."""

    name = "negative-accounts"

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        made = super().accounts(knowledge, targets, budget, rng)
        return replace(made, accounts=made.accounts - 2)


class Raises(TargetsAlone):
    """Raises an error."""

    name = "raises"

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        raise ZeroDivisionError("oh")


class Exits(TargetsAlone):
    """Ends the process."""

    name = "exits"

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        os._exit(0)


class AnotherName(TargetsAlone):
    """Has another name than it is registered under."""

    name = "random"
