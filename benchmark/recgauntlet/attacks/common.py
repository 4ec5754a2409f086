"""Shared by the attacks: the wrong direction of an example, when it is broken, and the best input found so far."""

from __future__ import annotations

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.threats.victim import Victim

FALLEN = 1e-3
"""How far past 0 a logit must be before a search stops: rounding in the evaluator's scoring must not undo it."""


LEAST_QUERIES = 8
"""Queries an edit with which a search that ranks edits begins to pay; with fewer it tries random inputs instead."""


def wrong_way(batch: Batch) -> Tensor:
    """`[B]`: +1 where the label is 0 (push the logit up), -1 where it is 1 (push it down)."""
    return 1.0 - 2.0 * batch.labels


class BestSoFar:
    """How wrong the most wrong input found for each of `B` examples is: its damage (`wrong_way * logit`)."""

    def __init__(self, batch: Batch) -> None:
        self.example_ids = batch.example_ids
        self.sign = wrong_way(batch)
        self.damage = torch.full_like(self.sign, -torch.inf)

    def improve(self, rows: Tensor, logits: Tensor) -> Tensor:
        """Book the logits `[K]` of the examples `rows [K]` (each at most once); `[K]`, which are a new best."""
        damage = self.sign[rows] * logits.to(self.sign.dtype)
        better = damage > self.damage[rows]
        self.damage[rows[better]] = damage[better]
        return better

    def fallen(self) -> Tensor:
        """`[B]`: which examples the victim already errs on."""
        return self.damage > FALLEN

    def rows_to_try(self, victim: Victim, rows: Tensor | None = None, *, stop_when_fallen: bool = True) -> Tensor:
        """Those of `rows` (None: all) that have a query left and, with `stop_when_fallen`, have not fallen."""
        if rows is None:
            rows = torch.arange(len(self.sign), device=self.sign.device)
        if stop_when_fallen:
            rows = rows[~self.fallen()[rows]]
        return rows[(victim.remaining(self.example_ids[rows]) > 0).to(rows.device)]


def worst_first(rows: Tensor, damage: Tensor) -> Tensor:
    """`[K]`: an order in which what belongs to one of the examples `rows [K]` stands together, the most damaging first
    and what is alike as it stood."""
    order = damage.argsort(descending=True, stable=True)
    return order[rows[order].argsort(stable=True)]


def rank_within(rows: Tensor) -> Tensor:
    """`[K]`: how many of the same example stand before each of `rows [K]`, where those of one example stand
    together."""
    place = torch.arange(len(rows), device=rows.device)
    starts = torch.ones_like(rows, dtype=torch.bool)
    starts[1:] = rows[1:] != rows[:-1]
    # the running maximum of the starts' places is where the example at hand begins
    return place - torch.cummax(torch.where(starts, place, 0), dim=0).values if len(rows) else place


def first_of_each(keys: Tensor) -> Tensor:
    """The places, in order, of the first of each kind of row in `keys [K, C]`, integers."""
    odd = torch.randint(-(2**62), 2**62, (keys.shape[1],), generator=torch.Generator().manual_seed(0)).to(keys.device)
    hashed = (keys * (2 * odd + 1)).sum(dim=1)  # wraps around; two kinds share a sum once in about 2^63 pairs
    _, kind = torch.unique(hashed, return_inverse=True)
    place = torch.arange(len(keys), device=keys.device)
    first = torch.full((int(kind.max()) + 1 if len(kind) else 0,), len(keys), device=keys.device)
    return first.scatter_reduce(0, kind, place, "amin").sort().values
