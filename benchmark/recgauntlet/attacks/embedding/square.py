"""A black-box random search on the candidate's embeddings, for models whose gradients are not informative."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from recgauntlet.attacks.common import BestSoFar
from recgauntlet.attacks.embedding.ball import EmbeddingAttack, to_border
from recgauntlet.core.batch import Batch
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import Randomness
from recgauntlet.threats.embedding import Norm
from recgauntlet.threats.victim import Victim

_PLAN = (0.005, 0.025, 0.1, 0.25, 0.5, 0.75)
"""The shares of the steps at which the blocks get half as large, as the paper's plan for 10,000 queries."""


class Square(EmbeddingAttack):
    """Random search by blocks (after Square Attack, Andriushchenko et al. 2020): change the signs of a random block of
    the perturbation, keep it where the damage grew.

    A perturbation is a sign for every element, stretched to the border of the ball; a block is a run of neighbouring
    tokens times a random share of the dimensions, and gets one new random sign a dimension. It starts from one sign a
    dimension, the same for all tokens, and `share` of the elements change in the first step.

    Deviations: blocks of tokens and dimensions instead of squares of pixels; in an L2 ball the signs are scaled to the
    border instead of moving mass between windows; queries are few, so the plan of shrinking blocks is compressed.
    """

    name = "square"
    citation = bibtex("andriushchenko2020square")

    def __init__(self, *, steps: int = 100, share: float = 0.5, stop_when_fallen: bool = True) -> None:
        self.steps = steps
        self.share = share
        self.stop_when_fallen = stop_when_fallen

    def _delta(self, victim: Victim, batch: Batch, norm: Norm, radius: float, rng: Randomness) -> Tensor:
        mask, size = victim.embedding_layout(batch)
        best = BestSoFar(batch)
        signs, places, dims = self._draws(rng.child(self.name), batch.example_ids, size)
        signs, places, dims = (part.to(mask.device) for part in (signs, places, dims))
        lengths = mask.sum(dim=1)
        column = torch.arange(mask.shape[1], device=mask.device)
        chosen = signs[:, 0, None, :] * mask.unsqueeze(-1)
        rows = torch.arange(len(batch), device=mask.device)
        for turn in range(self.steps):
            rows = best.rows_to_try(victim, rows, stop_when_fallen=self.stop_when_fallen)
            if not len(rows):
                break
            trial = chosen[rows]
            if turn:
                side = (self.share * _shrunk(turn / self.steps)) ** 0.5
                wide = (side * lengths[rows]).ceil().long().clamp(min=1)
                first = (places[rows, turn] * (lengths[rows] - wide + 1)).long()
                here = (column >= first[:, None]) & (column < (first + wide)[:, None]) & mask[rows]
                block = here[:, :, None] & (dims[rows, turn] < side)[:, None, :]
                trial = torch.where(block, signs[rows, turn][:, None, :], trial)
            delta = to_border(trial, norm, radius)
            better = best.improve(rows, victim.scores(batch.select(rows).with_delta(delta)))
            chosen[rows[better]] = trial[better]
        return to_border(chosen, norm, radius)

    def _draws(self, rng: Randomness, example_ids: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Signs `[B, steps, D]`, places `[B, steps]` and dimensions' lots `[B, steps, D]`, by example."""
        shape = (len(example_ids), self.steps, size)
        signs, lots = np.empty(shape, dtype=np.float32), np.empty(shape, dtype=np.float32)
        places = np.empty(shape[:2], dtype=np.float32)
        for b, example in enumerate(example_ids.tolist()):
            generator = rng.numpy(example)
            signs[b] = generator.integers(0, 2, size=shape[1:]) * 2 - 1
            lots[b] = generator.random(shape[1:], dtype=np.float32)
            places[b] = generator.random(shape[1], dtype=np.float32)
        return torch.from_numpy(signs), torch.from_numpy(places), torch.from_numpy(lots)


def _shrunk(done: float) -> float:
    """The share of the first block that a block still has after `done` of the steps."""
    return 0.5 ** sum(done > moment for moment in _PLAN)
