"""Attacks that each break one rule of the contract, and the honest one that they are made of."""

from __future__ import annotations

import os
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet import Attack, Batch, Budget, Randomness, Victim, model_scores


class Step(Attack):
    """One step along the gradient, to the border of the L2 ball."""

    name = "step"
    surface = "embedding"

    def __init__(self, *, length: float = 1.0) -> None:
        self.length = length

    def supports(self, budget: Budget) -> bool:
        return getattr(budget.threat, "norm", "") == "l2"

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient / gradient.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        _, gradient, _ = victim.embedding_gradient(batch)
        wrong_side = (1 - 2 * batch.labels)[:, None, None]
        radius = self.length * budget.amount * victim.scale.norm
        return batch.with_delta(self.direction(gradient * wrong_side) * radius)


class Nameless(Step):
    name = ""


class DoesNothing(Attack):
    name = "does-nothing"
    surface = "embedding"


class SaysOne(Step):
    def supports(self, budget: Budget) -> bool:
        return 1 if super().supports(budget) else 0  # type: ignore[return-value]


class Crashes(Step):
    def direction(self, gradient: Tensor) -> Tensor:
        return gradient[:, 999]


class Clips(Step):
    """Keeps another value than the one it was given."""

    def __init__(self, *, length: float = 1.0) -> None:
        self.length = min(length, 0.9)


class Reverses(Step):
    """The examples come back in another order."""

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        return super().perturb(victim, batch, budget, rng).select(torch.arange(len(batch)).flip(0))


class GivesVerdicts(Step):
    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        return torch.ones(len(batch), dtype=torch.bool)  # type: ignore[return-value]


class TwiceAsFar(Step):
    def direction(self, gradient: Tensor) -> Tensor:
        return 2.0 * super().direction(gradient)


class AsksThrice(Step):
    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        for _ in range(2):
            victim.scores(batch)
        return super().perturb(victim, batch, budget, rng)


class GoesBehind(Step):
    """Asks the model itself, where nobody counts."""

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        for _ in range(2):
            model_scores(victim.model, batch)
        return super().perturb(victim, batch, budget, rng)


class RollsDice(Step):
    """Asks the system for its noise."""

    def direction(self, gradient: Tensor) -> Tensor:
        return super().direction(gradient) * (0.5 + int.from_bytes(os.urandom(4), "big") / 2**33)


class TouchesTheGenerator(Step):
    def direction(self, gradient: Tensor) -> Tensor:
        torch.manual_seed(7)
        return super().direction(gradient)


class ScalesByTheBatch(Step):
    """A step relative to the largest gradient of the batch."""

    def direction(self, gradient: Tensor) -> Tensor:
        return gradient / gradient.flatten(1).norm(dim=1).max().clamp(min=1e-12)


class WritesToTheBatch(Step):
    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        batch.users.histories[:, 0].clamp_(min=0)
        return super().perturb(victim, batch, budget, rng)


class SwitchesTheModel(Step):
    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        victim.model.train()
        return super().perturb(victim, batch, budget, rng)


class PushesTheRightWay(Step):
    def direction(self, gradient: Tensor) -> Tensor:
        return -super().direction(gradient)


class Remembers(Step):
    """Counts its runs on the class."""

    runs: ClassVar[list[int]] = []

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        self.runs.append(len(batch))
        return super().perturb(victim, batch, budget, rng)


class SetsTheEnvironment(Step):
    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        os.environ["RECGAUNTLET_BROKEN_ATTACK"] = "1"
        return super().perturb(victim, batch, budget, rng)


class KeepsResults(Step):
    def __init__(self) -> None:
        super().__init__()
        self._found: list[Batch] = []

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        self._found.append(super().perturb(victim, batch, budget, rng))
        return self._found[-1]
