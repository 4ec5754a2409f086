"""Dirichlet neighborhood sampling: items of the history become random mixtures of their neighbours (Yue et al.
2022)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.core.types import PAD
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet_baselines.defenses._edits import uniform_of_items
from recgauntlet_baselines.defenses._item_mixtures import Places, chosen_places, item_vectors, loss_at, mixed
from recgauntlet_baselines.defenses._passes import evaluation_mode

NEAR, LEAST, MOST = 0.5, 2, 25
"""The cosine of a neighbour, and how many neighbours of each order an item has, as in the paper's code."""
_BLOCK = 512


@dataclass(kw_only=True, eq=False)
class DirichletNeighborhood(Defense):
    """The share `ratio` of each history's items is replaced by points of the convex hull of their neighbours:

    `e'_j = sum_k w_k e_k`, `w ~ Dirichlet(alpha, ..., alpha, alpha decay, ..., alpha decay)`,

    with `alpha` for neighbours of item j and `alpha decay` for neighbours of neighbours; the model's own loss on these
    histories alone, drawn afresh at every step. Neighbours are items whose vector has a cosine of at least 0.5, at
    least the two nearest; of each order the 25 nearest count. They are found by the model's own item vectors in
    evaluation mode, `updates` times in the course of training. Gradients reach the vectors of the neighbours.

    Deviations from the paper: of more than 25 neighbours the nearest count instead of random ones (neighbours of
    neighbours in the order of these); neighbours are found anew after shares of the training instead of every 10
    epochs. What a model adds as an auxiliary loss (next items of the history for `sasrec`) stays on the clean history,
    and so does what it reads of an item besides its vector. A model that does not read histories is trained plainly.

    Parameters
    ----------
    ratio
        The share of a history's items that is replaced (rounded down, at least one), above 0 to 1.
    alpha
        Concentration: below 1 a point lies near one neighbour, far above 1 near the mean of all.
    decay
        How much less neighbours of neighbours count, 0 to 1.
    updates
        How often neighbours are found, the first time at the start.
    """

    citation = bibtex("yue2022defending")
    search_space: ClassVar[SearchSpace] = {"ratio": Between(0.1, 1.0), "alpha": Between(0.1, 10.0, log=True)}

    ratio: float = 0.5
    alpha: float = 1.0
    decay: float = 0.5
    updates: int = 10
    _found: WeakKeyDictionary[Recommender, tuple[int, Neighbours]] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False
    )

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        if "history" not in model.surfaces or not bool((batch.users.histories != PAD).any()):
            return super().training_loss(model, batch, context)
        places = chosen_places(batch.users.histories, uniform_of_items(context, batch), self.ratio)
        return loss_at(model, batch, self.replaced(model, batch, places, context))

    def replaced(self, model: Recommender, batch: Batch, places: Places, context: TrainingContext) -> Tensor:
        """The embedded histories `[U, H, D]` with drawn mixtures at `places`."""
        embedded = model.embed_history(batch.users)
        neighbours = self.neighbours(model, context)
        around = neighbours.items[batch.users.histories[places.users, places.columns]]
        weights = neighbours.weights(around, self.alpha, self.decay, context.rng.child("mixture").numpy(context.step))
        needed, rows = torch.unique(around.clamp(min=0), return_inverse=True)
        mixtures = mixed(item_vectors(model, needed), rows, weights)
        return places.put(embedded, mixtures.to(embedded.dtype))

    def neighbours(self, model: Recommender, context: TrainingContext) -> Neighbours:
        """Those of this part of the training of `model`."""
        part = min(int(context.progress * self.updates), self.updates - 1)
        found = self._found.get(model)
        if found is None or found[0] != part:
            with evaluation_mode(model), torch.no_grad():
                every = torch.arange(len(model.catalog), device=model.device)
                vectors = torch.cat([item_vectors(model, block) for block in torch.split(every, _BLOCK)])
            found = self._found[model] = part, Neighbours.of(vectors)
        return found[1]


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of each of `N` items, `items [N, 2 * MOST]`: in the first `MOST` columns neighbours, in the others
    neighbours of these; -1 behind the last."""

    items: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> Neighbours:
        """Those of items with `vectors [N, D]`."""
        unit = F.normalize(vectors.float(), dim=1)
        count = len(unit)
        most = min(MOST, count - 1)
        first = []
        for start in range(0, count, _BLOCK):
            cosines = unit[start : start + _BLOCK] @ unit.T
            own = torch.arange(len(cosines), device=unit.device)
            cosines[own, own + start] = -torch.inf
            near = torch.topk(cosines, most, dim=1)
            kept = (near.values >= NEAR) | (torch.arange(most, device=unit.device) < LEAST)
            first.append(near.indices.masked_fill(~kept, -1))
        direct = F.pad(torch.cat(first), (0, MOST - most), value=-1)
        return cls(torch.cat([direct, _second(direct)], dim=1))

    def weights(self, around: Tensor, alpha: float, decay: float, generator: np.random.Generator) -> Tensor:
        """`[P, 2 * MOST]` Dirichlet weights of the neighbours `around`, 0 where there is none."""
        order = np.repeat([alpha, alpha * decay], MOST)
        drawn = generator.standard_gamma(np.where(around.cpu().numpy() >= 0, order, 0.0))
        # all draws may be 0 where alpha is tiny: the nearest neighbour then
        drawn[:, 0] += drawn.sum(axis=1) == 0
        return torch.from_numpy(drawn / drawn.sum(axis=1, keepdims=True)).to(around.device)


def _second(direct: Tensor) -> Tensor:
    """`[N, MOST]`: the neighbours of the neighbours `direct [N, MOST]`, without these and the item itself, in the order
    in which they are met: first the nearest neighbour of each neighbour."""
    table = direct.cpu().numpy()
    found = np.full_like(table, -1)
    for item, own in enumerate(table):
        met = table[own[own >= 0]].T.ravel()
        known = np.isin(met, np.append(own, item)) | (met < 0)
        values, at = np.unique(met[~known], return_index=True)
        kept = values[np.argsort(at)][:MOST]
        found[item, : len(kept)] = kept
    return torch.from_numpy(found).to(direct.device)
