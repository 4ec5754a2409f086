"""What the attacks share: which way is wrong, when an example has fallen, and the best input found so far."""

from __future__ import annotations

import torch
from torch import Tensor

from recgauntlet.batch import Batch
from recgauntlet.victim import Victim

FALLEN = 1e-3
"""How far past 0 a logit must be before a search stops: rounding in the evaluator's own scoring must not undo
it."""


def wrong_way(batch: Batch) -> Tensor:
    """`[B]`: +1 where the label is 0 (push the logit up), -1 where it is 1 (push it down)."""
    return 1.0 - 2.0 * batch.labels


class Best:
    """The most wrong input found for each of `B` examples: its damage (`wrong_way * logit`) and its index
    into whatever the attack keeps of inputs."""

    def __init__(self, batch: Batch) -> None:
        self.sign = wrong_way(batch)
        self.damage = torch.full_like(self.sign, -torch.inf)

    def improve(self, rows: Tensor, logits: Tensor) -> Tensor:
        """Book the logits `[K]` of the examples `rows [K]` (each at most once); `[K]`, which are a new
        best."""
        damage = self.sign[rows] * logits.to(self.sign.dtype)
        better = damage > self.damage[rows]
        self.damage[rows[better]] = damage[better]
        return better

    def fallen(self) -> Tensor:
        """`[B]`: which examples the victim already errs on."""
        return self.damage > FALLEN


def may_ask(victim: Victim, batch: Batch, rows: Tensor) -> Tensor:
    """Those of `rows` that have a query left."""
    return rows[(victim.remaining(batch.example_ids[rows]) > 0).to(rows.device)]
