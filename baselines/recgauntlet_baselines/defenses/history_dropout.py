"""History dropout: items of the user's history are left out at random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.core.types import PAD
from recgauntlet.training.defense import Defense, TrainingContext, model_scores
from recgauntlet_baselines.defenses._edits import uniform_of_items


@dataclass(kw_only=True, eq=False)
class HistoryDropout(Defense):
    """Every item of a history is left out with chance `rate`; the others move together, newest last, with padding in
    front. At least one item stays (the one with the largest draw). Afresh for every user of a batch and every step.

    Item dropping as an augmentation of sequences; the crop operator of Xie et al. (2022) keeps a stretch of neighbours,
    this one any items, which is closer to an attacker's deletions. Deviations from the paper: no contrastive loss, the
    shorter history simply replaces the whole one. A model that does not read histories is trained plainly.

    Parameters
    ----------
    rate
        The chance that an item is left out, 0 (plain training) to below 1.
    """

    citation = bibtex("xie2022contrastive")
    search_space: ClassVar[SearchSpace] = {"rate": Between(0.05, 0.6)}

    rate: float = 0.2

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        histories = batch.users.histories
        draws = uniform_of_items(context, batch)
        users = Users(batch.users.ids, without_items(histories, draws, self.rate))
        return model.click_loss(model_scores(model, replace(batch, users=users)), batch)


def without_items(histories: Tensor, draws: Tensor, rate: float) -> Tensor:
    """`histories [U, H]` without the items whose draw in `draws [U, H]` is below `rate`, PAD in front; of each user at
    least the item with the largest draw."""
    real = histories != PAD
    draws = draws.masked_fill(~real, -1.0)
    kept = real & ((draws >= rate) | (draws == draws.amax(dim=1, keepdim=True)))
    order = torch.argsort(kept.long(), dim=1, stable=True)
    return histories.masked_fill(~kept, PAD).gather(1, order)
