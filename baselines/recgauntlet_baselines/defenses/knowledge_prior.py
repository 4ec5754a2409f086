"""Knowledge prior: items that share categories in a graph of items and categories must tell the model the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.card import Threat
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.core.types import PAD, IntArray
from recgauntlet.training.defense import Defense, TrainingContext, model_scores
from recgauntlet_baselines.defenses._consistency import symmetric_kl
from recgauntlet_baselines.defenses._edits import uniform_of_items

_BLOCK = 512


@dataclass(kw_only=True, eq=False)
class KnowledgePrior(Defense):
    """`L(s(h, i)) + lam * (KL(p || p') + KL(p' || p))`, where `p = sigmoid(s(h, i))` and `p'` is that of a history in
    which the share `ratio` of the items made way for neighbours, drawn afresh at every step.

    The knowledge is a graph of items and their categories (genres, sections, departments: the words of the catalog's
    category). Neighbours are items of which at least `overlap` of all categories of both are shared (Jaccard). So what
    the model makes of a history has to hang on what its items are, not on which of them they are: an attacker who
    exchanges one for another of its kind changes little. Items without a category, or alone in theirs, stay.

    Ours, after regularization by a knowledge graph (KGAT, Wang et al. 2019, which passes messages along it instead).
    The label's loss is on the clean history alone. A model that does not read histories is trained plainly.

    Parameters
    ----------
    lam
        The weight of the divergence.
    ratio
        The chance that an item makes way, 0 (plain training) to 1.
    overlap
        The least share of common categories, above 0 to 1 (the same categories).
    """

    citation = bibtex("wang2019kgat")
    search_space: ClassVar[SearchSpace] = {"lam": Between(0.1, 10.0, log=True), "ratio": Between(0.1, 0.6)}

    lam: float = 1.0
    ratio: float = 0.2
    overlap: float = 0.5
    _graph: Neighbours | None = field(default=None, init=False, repr=False)

    def prepare(self, threats: Sequence[Threat], catalog: Catalog) -> None:
        self._graph = Neighbours.of(catalog.categories, self.overlap)

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        clean = model_scores(model, batch)
        loss = model.click_loss(clean, batch)
        if self._graph is None or "history" not in model.surfaces or self.ratio == 0.0 or self.lam == 0.0:
            return loss
        draws = uniform_of_items(context, batch)
        users = Users(batch.users.ids, self._graph.exchanged(batch.users.histories, draws, self.ratio))
        other = model_scores(model, replace(batch, users=users))
        return loss + self.lam * symmetric_kl(clean, other).mean()


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of `N` items: those of item n are `items[starts[n] : starts[n] + counts[n]]`."""

    items: Tensor
    starts: Tensor
    counts: Tensor

    @classmethod
    def of(cls, categories: Sequence[str], overlap: float) -> Neighbours:
        """Those of items with the `categories`, several of an item separated by blanks."""
        sets = [frozenset(text.split()) for text in categories]
        names = {name: place for place, name in enumerate(sorted({name for own in sets for name in own}))}
        member = np.zeros((len(sets), len(names)), dtype=np.float32)
        for item, own in enumerate(sets):
            member[item, [names[name] for name in own]] = 1.0
        sizes = member.sum(axis=1)
        found: list[IntArray] = []
        for start in range(0, len(sets), _BLOCK):
            rows = slice(start, start + _BLOCK)
            shared = member[rows] @ member.T
            either = sizes[rows, None] + sizes - shared
            near = (shared > 0) & (shared >= overlap * either - 1e-6)
            near[np.arange(len(near)), np.arange(start, start + len(near))] = False
            found += [np.flatnonzero(row) for row in near]
        counts = np.array([len(own) for own in found], dtype=np.int64)
        items = np.concatenate([*found, np.zeros(0, dtype=np.int64)])
        return cls(torch.from_numpy(items), torch.from_numpy(np.cumsum(counts) - counts), torch.from_numpy(counts))

    def exchanged(self, histories: Tensor, draws: Tensor, ratio: float) -> Tensor:
        """`histories [U, H]` in which items whose draw in `draws [U, H]` (0 to 1) is below `ratio`, and that have
        neighbours, are one of these; which, the draw says too."""
        device = histories.device
        known = histories.clamp(min=0)
        counts, starts = self.counts.to(device)[known], self.starts.to(device)[known]
        moves = (histories != PAD) & (draws < ratio) & (counts > 0)
        chosen = (draws / ratio * counts).long().minimum(counts - 1).clamp(min=0)
        items = self.items.to(device)
        if not len(items):
            return histories
        return torch.where(moves, items[(starts + chosen).clamp(max=len(items) - 1)], histories)
