"""Projected ascent on a smoothed copy of the model, for gradients that are right and lead nowhere."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.attacks.embedding.ball import (
    EmbeddingAttack,
    WorstPoints,
    damage_gradient,
    project_to_ball,
    random_directions,
    steepest,
)
from recgauntlet.core.batch import Batch
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import fit
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding import Norm
from recgauntlet.threats.victim import Victim

_MOMENTUM = 0.75


class SmoothedPGD(EmbeddingAttack):
    """Projected gradient ascent in which the backward pass is that of the model smoothed by normal noise.

    At each of `steps` steps the gradient is the mean of those at `points` points around: an estimate of the gradient of
    the smoothed score (Athalye, Carlini and Wagner 2018: expectation over transformation, and the backward pass
    differentiable approximation of a function that is flat or steep in pieces, such as a soft codebook). The noise of
    an embedding is `widest` times the model's mean norm at first and `narrowest` at the end, in equal ratios. What it
    finds is scored on the model itself.

    Deviations: the margin as loss; the step is `step` times the radius along the mean of the steepest directions so
    far (momentum 0.75); the start is the clean input; an example is dropped as soon as it falls (`stop_when_fallen`),
    or when it has fewer queries left than a step takes; with `tier` it runs at this tier alone.
    """

    name = "pgd-smoothed"
    citation = bibtex("athalye2018obfuscated")
    uses_gradients: ClassVar[bool] = True

    def __init__(
        self,
        *,
        steps: int = 19,
        points: int = 4,
        step: float = 0.25,
        widest: float = 1.0,
        narrowest: float = 0.6,
        tier: str = "",
        stop_when_fallen: bool = True,
    ) -> None:
        self.steps = steps
        self.points = points
        self.step = step
        self.widest = widest
        self.narrowest = narrowest
        self.tier = tier
        self.stop_when_fallen = stop_when_fallen

    def supports(self, budget: Budget) -> bool:
        return not self.tier or budget.tier == self.tier

    def _delta(self, victim: Victim, batch: Batch, norm: Norm, radius: float, rng: Randomness) -> Tensor:
        mask, size = victim.embedding_layout(batch)
        best = WorstPoints(batch, mask, size)
        delta, direction = best.points.clone(), torch.zeros_like(best.points)
        rows = torch.arange(len(batch), device=mask.device)
        unit = victim.scale.norm / size**0.5
        for turn in range(self.steps + 1):
            rows = best.rows_to_try(victim, rows, stop_when_fallen=self.stop_when_fallen)
            if not len(rows):
                break
            active = batch.select(rows).with_delta(delta[rows])
            best.book(rows, victim.scores(active), delta[rows])
            left = victim.remaining(batch.example_ids[rows]).to(rows.device) >= self.points
            rows = rows[left]
            if turn == self.steps or not len(rows):
                break
            width = unit * self.widest * (self.narrowest / self.widest) ** (turn / self.steps)
            clean = batch.select(rows)
            noise = random_directions(
                rng.child(f"{self.name}/{turn}"), clean.example_ids, mask[rows], size, self.points
            )
            around = (clean.with_delta(delta[rows] + width * part) for part in noise)
            gradient = sum(fit(damage_gradient(victim, point)[1], mask.shape[1]) for point in around)
            assert isinstance(gradient, Tensor)
            direction[rows] = _MOMENTUM * direction[rows] + (1 - _MOMENTUM) * steepest(gradient, norm)
            moved = delta[rows] + self.step * radius * steepest(direction[rows], norm)
            delta[rows] = project_to_ball(moved, norm, radius)
        return best.points
