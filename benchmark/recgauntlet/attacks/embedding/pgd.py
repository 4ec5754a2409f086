"""Attacks on the candidate's embeddings inside a ball: random, one-step and iterative.

All move `Batch.delta [B, L, D]`. The ball is the threat's: L2 over the whole `[L, D]` of an example, or the
largest element (Linf); its radius is `Budget.amount` times the model's own scale. Steps and projections use
that same norm. The objective is the logit itself, in the wrong direction: with one logit it is the margin
loss, and unlike the cross-entropy its gradient does not vanish on scaled logits (Carlini and Wagner 2017).
Padding never moves.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import BestSoFar, with_queries_left, wrong_way
from recgauntlet.core.batch import Batch
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import fit
from recgauntlet.core.types import Surface
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding import EmbeddingThreatModel, Norm
from recgauntlet.threats.victim import Victim

_SAFE = 1.0 - 1e-5
"""Radii are shrunk by this, so that rounding never carries a delta out of the ball."""


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
    """The unit step of `norm` along which the linear gain is largest: the gradient over its L2 norm, or its
    sign."""
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


class EmbeddingAttack(Attack):
    """What all attacks inside a ball share: its norm and radius, and a clean start."""

    surface: ClassVar[Surface] = "embedding"

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        norm, radius = EmbeddingThreatModel.of(budget).ball(budget.amount, victim.scale)
        if not len(batch) or radius <= 0:
            return batch
        return batch.with_delta(self._delta(victim, batch.with_delta(None), norm, radius * _SAFE, rng))

    @abstractmethod
    def _delta(self, victim: Victim, batch: Batch, norm: Norm, radius: float, rng: Randomness) -> Tensor:
        """The perturbation `[B, L, D]` of a clean batch that is not empty."""


class RandomEmbedding(EmbeddingAttack):
    """The worst of `points` random points on the ball's border: uniform directions (L2) or random corners
    (Linf).

    The yardstick of every other embedding attack, not a published one.
    """

    name = "random"
    is_random = True

    def __init__(self, *, points: int = 10) -> None:
        self.points = points

    def _delta(self, victim: Victim, batch: Batch, norm: Norm, radius: float, rng: Randomness) -> Tensor:
        mask, size = victim.embedding_layout(batch)
        draws = random_directions(rng.child(self.name), batch.example_ids, mask, size, self.points)
        best, chosen = BestSoFar(batch), torch.zeros_like(draws[0])
        for point in draws:
            rows = with_queries_left(victim, batch, torch.nonzero(~best.fallen()).flatten())
            if not len(rows):
                break
            delta = to_border(steepest(point[rows], norm), norm, radius)
            better = best.improve(rows, victim.scores(batch.select(rows).with_delta(delta)))
            chosen[rows[better]] = delta[better]
        return chosen


class FGM(EmbeddingAttack):
    """One step along the gradient to the border of the ball (Miyato, Dai and Goodfellow 2017, equation 5).

    Deviations: the gradient of the logit instead of the loss (same direction for one logit); in an Linf ball
    the step ends where its largest element touches the border.
    """

    name = "fgm"
    citation = bibtex("miyato2017adversarial")
    uses_gradients: ClassVar[bool] = True

    def _delta(self, victim: Victim, batch: Batch, norm: Norm, radius: float, rng: Randomness) -> Tensor:
        _, gradient, mask = victim.embedding_gradient(batch)
        return to_border(_uphill(gradient, mask, batch), norm, radius)


class FGSM(EmbeddingAttack):
    """One step along the gradient's sign to the border of the ball (Goodfellow, Shlens and Szegedy 2015).

    Deviations: the gradient of the logit instead of the loss; in an L2 ball the sign vector is scaled down to
    the border, so that every attack of a threat moves equally far.
    """

    name = "fgsm"
    citation = bibtex("goodfellow2015explaining")
    uses_gradients: ClassVar[bool] = True

    def _delta(self, victim: Victim, batch: Batch, norm: Norm, radius: float, rng: Randomness) -> Tensor:
        _, gradient, mask = victim.embedding_gradient(batch)
        return to_border(_uphill(gradient, mask, batch).sign(), norm, radius)


class PGD(EmbeddingAttack):
    """Projected gradient ascent on the margin (Madry et al. 2018), step and projection on the same ball.

    `steps` steps of `step` times the radius from the clean input, then, for the examples that stand, again
    from each of `restarts` random points of the ball. The steepest step of the ball's norm: the normalised
    gradient (L2) or its sign (Linf).

    Deviations: the margin (the logit) instead of the cross-entropy; the first start is the clean input; the
    step is halved after half of the steps and again after three quarters, as in AutoAttack's APGD (Croce and
    Hein 2020) but on a fixed plan; the worst iterate is returned, not the last; an example is dropped as soon
    as it falls (`stop_when_fallen`; a transfer attack goes on, because the most wrong input carries over
    best).
    """

    name = "pgd"
    citation = bibtex("madry2018towards")
    uses_gradients: ClassVar[bool] = True

    def __init__(
        self, *, steps: int = 20, step: float = 0.25, restarts: int = 1, stop_when_fallen: bool = True
    ) -> None:
        self.steps = steps
        self.step = step
        self.restarts = restarts
        self.stop_when_fallen = stop_when_fallen

    def _delta(self, victim: Victim, batch: Batch, norm: Norm, radius: float, rng: Randomness) -> Tensor:
        mask, size = victim.embedding_layout(batch)
        best, chosen = BestSoFar(batch), torch.zeros((*mask.shape, size), device=mask.device)
        starts = random_directions(rng.child(self.name), batch.example_ids, mask, size, self.restarts)
        for start in range(1 + self.restarts):
            delta = to_border(steepest(starts[start - 1], norm), norm, radius) if start else chosen.clone()
            rows, active = torch.arange(len(batch), device=mask.device), batch
            for turn in range(self.steps + 1):
                kept = torch.nonzero(~best.fallen()[rows]).flatten() if self.stop_when_fallen else None
                kept = _with_queries_left(victim, batch, rows, kept)
                if kept is not None:  # only then is anything copied
                    rows, delta, active = rows[kept], delta[kept], active.select(kept)
                if not len(rows):
                    break
                asked = active.with_delta(delta)
                if turn == self.steps:
                    gradient, logits = None, victim.scores(asked)
                else:
                    logits, gradient = climb(victim, asked)
                better = best.improve(rows, logits)
                chosen[rows[better]] = delta[better]
                if gradient is not None:
                    move = self._length(turn) * radius * steepest(fit(gradient, mask.shape[1]), norm)
                    delta = project_to_ball(delta + move, norm, radius)
        return chosen

    def _length(self, turn: int) -> float:
        """The step of `turn` in radii."""
        halvings = (turn >= self.steps / 2) + (turn >= self.steps * 3 / 4)
        return self.step * 0.5**halvings


def _with_queries_left(victim: Victim, batch: Batch, rows: Tensor, kept: Tensor | None) -> Tensor | None:
    """The places in `rows` of those among `kept` (None: all) that have a query left; None where that is all of them."""
    places = torch.arange(len(rows), device=rows.device) if kept is None else kept
    asking = places[(victim.remaining(batch.example_ids[rows[places]]) > 0).to(rows.device)]
    return None if len(asking) == len(rows) else asking


def climb(victim: Victim, active: Batch) -> tuple[Tensor, Tensor]:
    """Logits `[B]` and the gradient of the damage `[B, L, D]`."""
    logits, gradient, real = victim.embedding_gradient(active)
    return logits, _uphill(gradient, real, active)


def _uphill(gradient: Tensor, mask: Tensor, batch: Batch) -> Tensor:
    """The gradient of the damage: the logit's, turned the wrong way, zero on padding and where it is not
    finite."""
    finite = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
    return finite * (mask * wrong_way(batch)[:, None]).unsqueeze(-1)
