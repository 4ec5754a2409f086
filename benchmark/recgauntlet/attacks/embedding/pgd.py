"""Random, one-step and iterative attacks on the candidate's embeddings."""

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
    to_border,
)
from recgauntlet.core.batch import Batch
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import fit
from recgauntlet.threats.embedding import Norm
from recgauntlet.threats.victim import Victim


class RandomEmbedding(EmbeddingAttack):
    """The worst of `points` random points on the ball's border: uniform directions (L2) or random corners (Linf).

    The yardstick of every other embedding attack, not a published one.
    """

    name = "random"
    is_random = True

    def __init__(self, *, points: int = 10) -> None:
        self.points = points

    def _delta(self, victim: Victim, batch: Batch, norm: Norm, radius: float, rng: Randomness) -> Tensor:
        mask, size = victim.embedding_layout(batch)
        best = WorstPoints(batch, mask, size)
        for point in random_directions(rng.child(self.name), batch.example_ids, mask, size, self.points):
            rows = best.rows_to_try(victim)
            if not len(rows):
                break
            delta = to_border(steepest(point[rows], norm), norm, radius)
            best.book(rows, victim.scores(batch.select(rows).with_delta(delta)), delta)
        return best.points


class FGM(EmbeddingAttack):
    """One step along the gradient to the border of the ball (Miyato, Dai and Goodfellow 2017, equation 5).

    Deviations: the gradient of the logit instead of the loss (same direction for one logit); in an Linf ball
    the step ends where its largest element touches the border.
    """

    name = "fgm"
    citation = bibtex("miyato2017adversarial")
    uses_gradients: ClassVar[bool] = True

    def _delta(self, victim: Victim, batch: Batch, norm: Norm, radius: float, rng: Randomness) -> Tensor:
        return to_border(damage_gradient(victim, batch)[1], norm, radius)


class FGSM(EmbeddingAttack):
    """One step along the gradient's sign to the border of the ball (Goodfellow, Shlens and Szegedy 2015).

    Deviations: the gradient of the logit instead of the loss; in an L2 ball the sign vector is scaled down to
    the border, so that every attack of a threat moves equally far.
    """

    name = "fgsm"
    citation = bibtex("goodfellow2015explaining")
    uses_gradients: ClassVar[bool] = True

    def _delta(self, victim: Victim, batch: Batch, norm: Norm, radius: float, rng: Randomness) -> Tensor:
        return to_border(damage_gradient(victim, batch)[1].sign(), norm, radius)


class PGD(EmbeddingAttack):
    """Projected gradient ascent on the margin (Madry et al. 2018), step and projection on the same ball.

    `steps` steps of `step` times the radius from the clean input, then, for the examples that stand, again
    from each of `restarts` random points of the ball. The steepest step of the ball's norm: the normalised
    gradient (L2) or its sign (Linf).

    Deviations: the margin (the logit) instead of the cross-entropy; the first start is the clean input; the step is
    halved after half of the steps and again after three quarters, as in AutoAttack's APGD (Croce and Hein 2020) but on
    a fixed plan; the worst iterate is returned, not the last; an example is dropped as soon as it falls
    (`stop_when_fallen`; a transfer attack goes on, because the most wrong input carries over best).
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
        best = WorstPoints(batch, mask, size)
        draws = random_directions(rng.child(self.name), batch.example_ids, mask, size, self.restarts)
        for start in (None, *draws):
            delta = best.points.clone() if start is None else to_border(steepest(start, norm), norm, radius)
            rows = torch.arange(len(batch), device=mask.device)
            for turn in range(self.steps + 1):
                rows = best.rows_to_try(victim, rows, stop_when_fallen=self.stop_when_fallen)
                if not len(rows):
                    break
                active = batch.select(rows).with_delta(delta[rows])
                if turn == self.steps:
                    best.book(rows, victim.scores(active), delta[rows])
                    break
                logits, gradient = damage_gradient(victim, active)
                best.book(rows, logits, delta[rows])
                halvings = (turn >= self.steps / 2) + (turn >= self.steps * 3 / 4)
                move = self.step * 0.5**halvings * radius * steepest(fit(gradient, mask.shape[1]), norm)
                delta[rows] = project_to_ball(delta[rows] + move, norm, radius)
        return best.points
