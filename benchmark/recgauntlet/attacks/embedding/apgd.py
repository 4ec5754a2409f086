"""APGD on the candidate's embeddings: projected ascent with momentum that chooses its own step size."""

from __future__ import annotations

import itertools
import math
from typing import ClassVar, Literal

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

Loss = Literal["margin", "ce", "rank"]
_MOMENTUM = 0.75
"""The paper's alpha: the weight of the new step against that of the step before."""
_ENOUGH = 0.75
"""The paper's rho: the share of steps that must have raised the loss for the step size to stay."""


class APGD(EmbeddingAttack):
    """Auto-PGD (Croce and Hein 2020, algorithm 1): steps with momentum 0.75; at checkpoints that come ever closer, an
    example whose loss has not risen often enough, or whose best has not changed, goes back to its best point with half
    the step.

    Deviations: every example has its own step size and checks; an example is dropped as soon as it falls
    (`stop_when_fallen`). The losses, with `d` the damage (the logit in the wrong direction):

    - `margin`: `d` itself. Free of scale: for one logit it is what the difference-of-logits ratio is for many classes.
    - `ce`: the cross-entropy `log(1 + exp(d))`. Its slope is that of the margin times `sigmoid(d)`, so in exact
      arithmetic it takes the same steps; where it underflows, the gradients are masked, which is why it is here.
    - `rank`: targeted ranking, `-log(1 + exp(level - d))`: pushes until the candidate has passed the other candidate of
      its pair, whose score an attack on this one cannot touch. Against a model of one logit it too climbs the same way,
      but goes on past the decision boundary.

    Parameters
    ----------
    steps
        Gradient steps from each start.
    loss
        What is climbed.
    start
        `clean`: the unperturbed input; `random`: a random point on the ball's border.
    restarts
        Further starts from random points, for the examples that stand.
    name
        How the record calls it.
    """

    name = "apgd"
    citation = bibtex("croce2020reliable")
    uses_gradients: ClassVar[bool] = True

    def __init__(
        self,
        *,
        steps: int = 50,
        loss: Loss = "margin",
        start: Literal["clean", "random"] = "clean",
        restarts: int = 0,
        stop_when_fallen: bool = True,
        name: str = "apgd",
    ) -> None:
        self.steps = steps
        self.loss: Loss = loss
        self.start = start
        self.restarts = restarts
        self.stop_when_fallen = stop_when_fallen
        self.name = name  # type: ignore[misc]  # three losses are three attacks

    def _delta(self, victim: Victim, batch: Batch, norm: Norm, radius: float, rng: Randomness) -> Tensor:
        mask, size = victim.embedding_layout(batch)
        best = WorstPoints(batch, mask, size)
        clean_first = self.start == "clean"
        points = self.restarts + (not clean_first)
        draws = random_directions(rng.child(self.name), batch.example_ids, mask, size, points)
        starts = [to_border(steepest(draw, norm), norm, radius) for draw in draws]
        if clean_first:
            starts.insert(0, torch.zeros_like(best.points))
        level = _level_to_pass(victim, batch) if self.loss == "rank" else torch.zeros_like(best.sign)
        for start in starts:
            self._ascend(victim, batch, norm, radius, best, start, level)
        return best.points

    def _ascend(
        self, victim: Victim, batch: Batch, norm: Norm, radius: float, best: WorstPoints, point: Tensor, level: Tensor
    ) -> None:
        """One run from `point [B, L, D]`, which it moves; `best` keeps the worst points, `level [B]` is the ranking
        loss's."""
        count, device = len(batch), point.device
        before = point.clone()
        step = torch.full((count,), 2.0 * radius, device=device)  # eta(0) of the paper: the ball's diameter
        last, rises = torch.full((count,), -torch.inf, device=device), torch.zeros(count, device=device)
        top, top_point = last.clone(), point.clone()
        top_then, step_then = top.clone(), step.clone()  # at the checkpoint before
        checks = checkpoints(self.steps)
        rows = torch.arange(count, device=device)
        for turn in range(self.steps + 1):
            rows = best.rows_to_try(victim, rows, stop_when_fallen=self.stop_when_fallen)
            if not len(rows):
                return
            active = batch.select(rows).with_delta(point[rows])
            if turn == self.steps:
                best.book(rows, victim.scores(active), point[rows])
                return
            logits, gradient = damage_gradient(victim, active)
            best.book(rows, logits, point[rows])
            loss, slope = _objective(self.loss, best.sign[rows] * logits, level[rows])
            gradient = fit(gradient, point.shape[1]) * slope[:, None, None]
            rises[rows] += (loss > last[rows]).float()
            last[rows] = loss
            risen = loss > top[rows]
            top[rows[risen]] = loss[risen]
            top_point[rows[risen]] = point[rows[risen]]
            moving = torch.ones_like(rows, dtype=torch.bool)
            if turn in checks:
                # Condition 1: too few of the steps since the last checkpoint raised the loss. Condition 2: neither the
                # step nor the best loss has changed since then, so a full interval with this step gained nothing.
                moving = rises[rows] >= _ENOUGH * (turn - checks[turn])
                moving &= (step[rows] != step_then[rows]) | (top[rows] != top_then[rows])
                step_then[rows], top_then[rows] = step[rows], top[rows]
                rises[rows] = 0
                # Either one: half the step, from the best point. The gradient at hand is that of another point, so this
                # turn is spent on going back; with `before` there too, the first step from it has no momentum.
                back = rows[~moving]
                step[back] /= 2
                point[back] = before[back] = top_point[back]
            ahead_rows, gradient = rows[moving], gradient[moving]
            here = point[ahead_rows]
            ahead = project_to_ball(here + step[ahead_rows, None, None] * steepest(gradient, norm), norm, radius)
            if turn:  # the paper's first step has no momentum either: there is no point before
                ahead = here + _MOMENTUM * (ahead - here) + (1 - _MOMENTUM) * (here - before[ahead_rows])
                ahead = project_to_ball(ahead, norm, radius)
            before[ahead_rows], point[ahead_rows] = here, ahead


def checkpoints(steps: int) -> dict[int, int]:
    """The steps at which APGD looks back, each with the one before: p(0) = 0, p(1) = 0.22, and intervals that shrink by
    0.03 down to 0.06 (equation 2 of the paper)."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    places = sorted({math.ceil(round(share * steps, 6)) for share in shares if share <= 1})
    return {place: before for before, place in itertools.pairwise(places) if place > before}


def _objective(loss: Loss, damage: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of each damage `[B]` and its slope there."""
    if loss == "margin":
        return damage, torch.ones_like(damage)
    if loss == "ce":
        return torch.nn.functional.softplus(damage), torch.sigmoid(damage)
    return -torch.nn.functional.softplus(level - damage), torch.sigmoid(level - damage)


def _level_to_pass(victim: Victim, batch: Batch) -> Tensor:
    """`[B]`: the damage at which a candidate has passed the other one of its pair, by the victim's clean scores; 0
    where that one is on the right side already, or not there."""
    sign = 1.0 - 2.0 * batch.labels
    return (sign * victim.partner_scores(batch.example_ids).to(sign.device)).clamp(min=0.0)
