"""What all attacks inside a ball share: its geometry, random starts, the gradient, and the worst points found.

All move `Batch.delta [B, L, D]`. The ball is the threat's: L2 over the whole `[L, D]` of an example, or the largest
element (Linf); steps and projections use that same norm. The objective is the logit in the wrong direction: for one
logit the margin loss, whose gradient does not vanish on scaled logits (Carlini and Wagner 2017). Padding never moves.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import BestSoFar, wrong_way
from recgauntlet.core.batch import Batch
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Surface
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding import EmbeddingThreatModel, Norm
from recgauntlet.threats.victim import Victim

_SAFE = 1.0 - 1e-5
"""Radii are shrunk by this, so that rounding never carries a delta out of the ball."""


class EmbeddingAttack(Attack):
    """An attack inside a ball, from the clean input."""

    surface: ClassVar[Surface] = "embedding"

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        norm, radius = EmbeddingThreatModel.of(budget).ball(budget.amount, victim.scale)
        if not len(batch) or radius <= 0:
            return batch
        return batch.with_delta(self._delta(victim, batch.with_delta(None), norm, radius * _SAFE, rng))

    @abstractmethod
    def _delta(self, victim: Victim, batch: Batch, norm: Norm, radius: float, rng: Randomness) -> Tensor:
        """The perturbation `[B, L, D]` of a clean batch that is not empty."""


class WorstPoints(BestSoFar):
    """The most wrong point found for each of `B` examples, `points [B, L, D]`; at first the clean input."""

    def __init__(self, batch: Batch, mask: Tensor, size: int) -> None:
        super().__init__(batch)
        self.points = torch.zeros((*mask.shape, size), device=mask.device)

    def book(self, rows: Tensor, logits: Tensor, points: Tensor) -> None:
        """Book the logits `[K]` of the points `[K, L, D]` of the examples `rows [K]`."""
        better = self.improve(rows, logits)
        self.points[rows[better]] = points[better]


def project_to_ball(delta: Tensor, norm: Norm, radius: float) -> Tensor:
    """`delta [B, L, D]` moved to the nearest point of the ball."""
    if norm == "linf":
        return delta.clamp(-radius, radius)
    shrink: Tensor = (radius / delta.flatten(1).norm(dim=1).clamp(min=1e-12)).clamp(max=1.0)
    return delta * shrink[:, None, None]


def to_border(direction: Tensor, norm: Norm, radius: float) -> Tensor:
    """`direction [B, L, D]` stretched or shrunk until it touches the ball's border; 0 stays 0."""
    largest = direction.flatten(1).abs().amax(dim=1)
    unit = direction / largest.clamp(min=1e-37)[:, None, None]  # before squaring, or small gradients vanish
    size = unit.flatten(1).norm(dim=1) if norm == "l2" else torch.ones_like(largest)
    return unit * (radius / size.clamp(min=1.0))[:, None, None]


def steepest(gradient: Tensor, norm: Norm) -> Tensor:
    """The unit step of `norm` with the largest linear gain: the gradient over its L2 norm, or its sign."""
    return gradient.sign() if norm == "linf" else to_border(gradient, "l2", 1.0)


def random_directions(rng: Randomness, example_ids: Tensor, mask: Tensor, size: int, points: int) -> Tensor:
    """Standard normal draws `[points, B, L, D]`, zero on padding; an example's draws depend on its id and its
    number of tokens alone, however far the batch is padded."""
    out = torch.zeros((points, *mask.shape, size))
    if not points:
        return out.to(mask.device)
    places = mask.cpu()
    for b, example in enumerate(example_ids.tolist()):
        count = int(places[b].sum())
        out[:, b, places[b]] = torch.randn((points, count, size), generator=rng.torch(example))
    return out.to(mask.device)


def damage_gradient(victim: Victim, active: Batch, exact: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Logits `[B]` and the gradient of the damage `[B, L, D]`: the logit's, turned the wrong way, zero on padding and
    where it is not finite. `exact`: as `Victim.embedding_gradient` has it. One query an example."""
    logits, gradient, real = victim.embedding_gradient(active, exact)
    finite = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
    return logits, finite * (real * wrong_way(active)[:, None]).unsqueeze(-1)
