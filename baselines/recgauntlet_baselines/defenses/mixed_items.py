"""Adversarial training on mixtures of items: the worst weighted sums of item vectors in a history (Yue et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

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
from recgauntlet_baselines.defenses._item_mixtures import Places, chosen_places, item_vectors, loss_at
from recgauntlet_baselines.defenses._passes import evaluation_mode

_MOST = 256
"""Items that a place may be mixed with."""
_TINY = 1e-9


@dataclass(kw_only=True, eq=False)
class MixedItems(Defense):
    """`L(Y, M(X)) + lam * L(Y, M(X'))`, where the share `ratio` of each history's items is mixed with others:

    `x_0 = one-hot(item)`, `x_(t+1) = max(0, x_t + step_size g / |g|) / sum`, `e' = x_K E`,

    `g = (dL / de') E^T` being the gradient of the loss with respect to the weights `x` of a place, and `E` the item
    vectors. So a place becomes the worst weighted sum of vectors that `steps` steps find.

    Deviations from the paper: a place is mixed with at most 256 items, drawn at every step from those that stand in the
    batch's histories, instead of the whole catalog; only the places that are replaced are searched (the paper searches
    all and then replaces some), and they are chosen by an exact share; the two losses are added, where the paper takes
    a step for each. The search runs in evaluation mode, as there. What a model adds as an auxiliary loss stays on the
    clean history. A model that does not read histories is trained plainly.

    Parameters
    ----------
    lam
        The weight of the adversarial loss.
    ratio
        The share of a history's items that is mixed (rounded down, at least one), above 0 to 1.
    steps
        Of gradient ascent.
    step_size
        Of each, beside a weight of 1 for the item itself.
    """

    citation = bibtex("yue2022defending")
    search_space: ClassVar[SearchSpace] = {
        "lam": Between(0.25, 4.0, log=True),
        "ratio": Between(0.1, 1.0),
        "step_size": Between(0.1, 3.0, log=True),
    }

    lam: float = 1.0
    ratio: float = 0.5
    steps: int = 3
    step_size: float = 1.0

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        clean = super().training_loss(model, batch, context)
        histories = batch.users.histories
        if "history" not in model.surfaces or not bool((histories != PAD).any()):
            return clean
        places = chosen_places(histories, uniform_of_items(context, batch), self.ratio)
        present = torch.unique(histories[histories != PAD])
        order = context.rng.child("items").numpy(context.step).permutation(len(present))[:_MOST]
        items = present[torch.from_numpy(order).to(present.device)]
        embedded = model.embed_history(batch.users)
        with evaluation_mode(model):
            weights = self.worst(model, batch, places, items)
        own = embedded[places.users, places.columns]
        mixtures = weights[:, :1] * own + weights[:, 1:] @ item_vectors(model, items)
        return clean + self.lam * loss_at(model, batch, places.put(embedded, mixtures))

    def worst(self, model: Recommender, batch: Batch, places: Places, items: Tensor) -> Tensor:
        """`[P, 1 + N]`: the weights of the item that stands at each of the `places`, and of the others `items [N]`; all
        at least 0, sum 1."""
        with torch.no_grad():
            embedded, vectors = model.embed_history(batch.users), item_vectors(model, items)
        own = embedded[places.users, places.columns]
        weights = F.pad(own.new_ones(len(own), 1), (0, len(items)))
        for _ in range(self.steps):
            with torch.enable_grad():
                mixtures = (weights[:, :1] * own + weights[:, 1:] @ vectors).requires_grad_(True)
                loss = loss_at(model, batch, places.put(embedded, mixtures))
                (slope,) = torch.autograd.grad(loss, mixtures)
            gradient = torch.cat([(slope * own).sum(dim=1, keepdim=True), slope @ vectors.T], dim=1)
            weights = weights + self.step_size * gradient / (gradient.norm(dim=1, keepdim=True) + _TINY)
            weights = weights.clamp(min=0.0)
            weights = weights / weights.sum(dim=1, keepdim=True)
        return weights
