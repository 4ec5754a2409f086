"""A minimal-norm attack on the candidate's embeddings: the nearest misclassified point, approached from both sides."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from recgauntlet.attacks.common import FALLEN
from recgauntlet.attacks.embedding.ball import (
    EmbeddingAttack,
    WorstPoints,
    damage_gradient,
    project_to_ball,
    random_directions,
    steepest,
    to_border,
)
from recgauntlet.core.batch import Batch
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import fit
from recgauntlet.threats.embedding import Norm
from recgauntlet.threats.victim import Victim


class DDN(EmbeddingAttack):
    """Decoupling direction and norm (Rony et al. 2019, algorithm 1): a gradient step, then the ball around the clean
    input shrinks by `gamma` if the point fools the model and grows if it does not, and the point moves to its border.

    Because the ball begins and may grow beyond the budget, the search crosses the decision boundary where it is far
    away too, and comes back along it; only points inside the budget count. `rounds` searches begin at balls of
    `nearest` to `furthest` radii in equal ratios, each from a random point: they come upon different parts of the
    boundary, and find examples that ascents inside the ball do not.

    With `keep="nearest"` the result is not the most damaging point inside the budget but the nearest one that fools.

    Deviations: in an Linf ball the step is the gradient's sign and the point is clipped instead of rescaled, as in the
    fast minimum-norm attack (Pintor et al. 2021); several rounds; balls in units of the budget's radius that never
    exceed twice `furthest`; the steps' size falls by a cosine from the first ball's radius to a hundredth of the
    budget's; the start is a random point; an example is dropped as soon as a point inside the budget fools
    (`stop_when_fallen`).
    """

    name = "ddn"
    citation = bibtex("rony2019decoupling", "pintor2021fast")
    uses_gradients: ClassVar[bool] = True

    def __init__(
        self,
        *,
        steps: int = 50,
        gamma: float = 0.08,
        rounds: int = 3,
        nearest: float = 2.0,
        furthest: float = 10.0,
        keep: Literal["worst", "nearest"] = "worst",
        stop_when_fallen: bool = True,
        name: str = "",
    ) -> None:
        self.steps = steps
        self.gamma = gamma
        self.rounds = rounds
        self.nearest = nearest
        self.furthest = furthest
        self.keep = keep
        self.stop_when_fallen = stop_when_fallen
        self.name = name or type(self).name  # type: ignore[misc]  # two settings of one search are two attacks

    def _delta(self, victim: Victim, batch: Batch, norm: Norm, radius: float, rng: Randomness) -> Tensor:
        mask, size = victim.embedding_layout(batch)
        best = WorstPoints(batch, mask, size)
        starts = random_directions(rng.child(self.name), batch.example_ids, mask, size, self.rounds)
        for number, start in enumerate(starts):
            first = self.nearest * (self.furthest / self.nearest) ** (number / max(1, self.rounds - 1))
            delta = to_border(steepest(start, norm), norm, radius) * 0.1
            self._search(victim, batch, norm, radius, best, delta, first)
        return project_to_ball(best.points, norm, radius)

    def _search(
        self, victim: Victim, batch: Batch, norm: Norm, radius: float, best: WorstPoints, delta: Tensor, first: float
    ) -> None:
        """One round from `delta [B, L, D]`, the first ball of `first` radii; `best` keeps points inside the budget."""
        reach = torch.full((len(batch),), first * radius, device=delta.device)
        rows = torch.arange(len(batch), device=delta.device)
        for turn in range(self.steps + 1):
            rows = best.rows_to_try(victim, rows, stop_when_fallen=self.stop_when_fallen)
            if not len(rows):
                return
            active = batch.select(rows).with_delta(delta[rows])
            last = turn == self.steps
            size = _size(delta[rows], norm)
            inside = size <= radius  # outside, most points are near the boundary, and which side they are on is enough
            logits, gradient = (victim.scores(active), delta[rows]) if last else damage_gradient(victim, active, inside)
            fools = best.sign[rows] * logits > FALLEN
            if self.keep == "nearest":
                kept, value = fools & inside, -best.sign[rows] * size  # the smaller, the better
            else:
                kept, value = inside, logits
            best.book(rows[kept], value[kept], delta[rows[kept]])
            if last:
                return
            reach[rows] *= torch.where(fools, 1 - self.gamma, 1 + self.gamma)
            reach[rows] = reach[rows].clamp(max=2 * self.furthest * radius)
            falling = (1 + math.cos(math.pi * turn / self.steps)) / 2
            length = radius * (0.01 + (first - 0.01) * falling)
            moved = delta[rows] + length * steepest(fit(gradient, delta.shape[1]), norm)
            delta[rows] = _onto(moved, norm, reach[rows])


def _size(delta: Tensor, norm: Norm) -> Tensor:
    flat = delta.flatten(1)
    return flat.norm(dim=1) if norm == "l2" else flat.abs().amax(dim=1)


def _onto(delta: Tensor, norm: Norm, reach: Tensor) -> Tensor:
    """`delta [B, L, D]` moved to the border of each example's own ball (L2), or clipped to it (Linf)."""
    if norm == "linf":
        limit = reach[:, None, None]
        return torch.minimum(torch.maximum(delta, -limit), limit)
    scale: Tensor = reach / delta.flatten(1).norm(dim=1).clamp(min=1e-12)
    return delta * scale[:, None, None]
