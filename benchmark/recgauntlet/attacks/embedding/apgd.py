"""APGD on the candidate's embeddings: projected ascent with momentum that chooses its own step size."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from recgauntlet.attacks.common import BestSoFar, with_queries_left
from recgauntlet.attacks.embedding.pgd import (
    EmbeddingAttack,
    climb,
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
_ENOUGH = 0.75
"""The share of steps that must have raised the loss for the step size to stay."""


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
        best, chosen = BestSoFar(batch), torch.zeros((*mask.shape, size), device=mask.device)
        clean_first = self.start == "clean"
        points = self.restarts + (not clean_first)
        draws = random_directions(rng.child(self.name), batch.example_ids, mask, size, points)
        starts = [to_border(steepest(draw, norm), norm, radius) for draw in draws]
        if clean_first:
            starts.insert(0, torch.zeros_like(chosen))
        level = _level_to_pass(victim, batch) if self.loss == "rank" else None
        for first in starts:
            self._ascend(victim, batch, norm, radius, _Run(best, chosen, first, level))
        return chosen

    def _ascend(self, victim: Victim, batch: Batch, norm: Norm, radius: float, run: _Run) -> None:
        """One run from `run.point`; the worst points found are left in `run.chosen`."""
        device, count = run.point.device, len(batch)
        point, before = run.point, run.point
        step = torch.full((count,), 2.0 * radius, device=device)
        top, top_point = torch.full((count,), -torch.inf, device=device), point.clone()
        last, rises = torch.full((count,), -torch.inf, device=device), torch.zeros(count, device=device)
        top_then, step_then = top.clone(), step.clone()
        checks = checkpoints(self.steps)
        rows = torch.arange(count, device=device)
        for turn in range(self.steps + 1):
            rows = with_queries_left(victim, batch, rows[~run.best.fallen()[rows]] if self.stop_when_fallen else rows)
            if not len(rows):
                return
            active = batch.select(rows).with_delta(point[rows])
            if turn == self.steps:
                logits = victim.scores(active)
                run.book(rows, logits, point)
                return
            logits, gradient = climb(victim, active)
            run.book(rows, logits, point)
            damage = run.best.sign[rows] * logits
            gain, slope = _objective(self.loss, damage, None if run.level is None else run.level[rows])
            gradient = fit(gradient, point.shape[1]) * slope[:, None, None]
            rises[rows] += (gain > last[rows]).float()
            last[rows] = gain
            risen = gain > top[rows]
            top[rows[risen]] = gain[risen]
            top_point[rows[risen]] = point[rows[risen]]
            if turn in checks:
                since = turn - checks[turn]
                stuck = rises[rows] < _ENOUGH * since
                stuck |= (step[rows] == step_then[rows]) & (top[rows] == top_then[rows])
                step_then[rows], top_then[rows] = step[rows], top[rows]
                rises[rows] = 0
                back = rows[stuck]
                step[back] /= 2
                # where it goes back, the next step starts at the best point: its gradient is asked for first
                point = point.index_copy(0, back, top_point[back])
                before = before.index_copy(0, back, top_point[back])
                rest = ~stuck
                rows_now, gradient = rows[rest], gradient[rest]
            else:
                rows_now = rows
            here = point[rows_now]
            ahead = project_to_ball(here + step[rows_now][:, None, None] * steepest(gradient, norm), norm, radius)
            if turn:
                ahead = here + _MOMENTUM * (ahead - here) + (1 - _MOMENTUM) * (here - before[rows_now])
                ahead = project_to_ball(ahead, norm, radius)
            before = before.index_copy(0, rows_now, here)
            point = point.index_copy(0, rows_now, ahead)


@dataclass
class _Run:
    """What a run starts from and leaves behind: the worst points `chosen [B, L, D]` and how bad they are."""

    best: BestSoFar
    chosen: Tensor
    point: Tensor
    level: Tensor | None

    def book(self, rows: Tensor, logits: Tensor, point: Tensor) -> None:
        better = self.best.improve(rows, logits)
        self.chosen[rows[better]] = point[rows[better]]


def checkpoints(steps: int) -> dict[int, int]:
    """The steps at which APGD looks back, each with the one before: p(0) = 0, p(1) = 0.22, and intervals that shrink by
    0.03 down to 0.06 (equation 2 of the paper)."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    places = sorted({math.ceil(round(share * steps, 6)) for share in shares if share <= 1})
    return {place: before for before, place in itertools.pairwise(places) if place > before}


def _objective(loss: Loss, damage: Tensor, level: Tensor | None) -> tuple[Tensor, Tensor]:
    """The loss of each damage `[B]` and its slope there."""
    if loss == "margin":
        return damage, torch.ones_like(damage)
    if loss == "ce":
        return torch.nn.functional.softplus(damage), torch.sigmoid(damage)
    assert level is not None  # the ranking loss has one
    return -torch.nn.functional.softplus(level - damage), torch.sigmoid(level - damage)


def _level_to_pass(victim: Victim, batch: Batch) -> Tensor:
    """`[B]`: the damage at which a candidate has passed the other one of its pair, by the victim's clean scores; 0
    where that one is on the right side already, or not there."""
    sign = 1.0 - 2.0 * batch.labels
    return (sign * victim.partner_scores(batch.example_ids).to(sign.device)).clamp(min=0.0)
