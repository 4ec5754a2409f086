"""Loss truncation: the clicks with the largest losses are treated as noise (Wang et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.training.defense import Defense, TrainingContext, model_scores


@dataclass(kw_only=True, eq=False)
class LossTruncation(Defense):
    """Truncated cross-entropy: `L = mean over the kept of l(y, M(x))`. Dropped are the pairs whose clicked candidates
    have the largest loss: of a batch's clicks the share `rate * min(1, progress / rising)`, rounded down.

    Noise is learned late, so the share rises from 0. The loss of a click falls with its logit, whatever the model's own
    loss is, so the lowest logits are dropped.

    Deviations from the paper: the unclicked candidate of a dropped click goes with it (the paper samples unclicked ones
    apart; here, to drop clicks alone would move the decision boundary, and a pairwise loss needs both); the share rises
    with training's progress instead of with a number of steps.

    Parameters
    ----------
    rate
        The largest share of clicks that is dropped, 0 to below 1.
    rising
        The share of training after which it is reached.
    """

    citation = bibtex("wang2021denoising")
    search_space: ClassVar[SearchSpace] = {"rate": Between(0.02, 0.3), "rising": Between(0.1, 0.9)}

    rate: float = 0.1
    rising: float = 0.5

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        scores = model_scores(model, batch)
        kept = self.kept(scores.detach(), batch, context.progress)
        return model.click_loss(scores[kept], batch.select(kept))

    def kept(self, scores: Tensor, batch: Batch, progress: float) -> Tensor:
        """The places of the examples that are learned from, in their order."""
        clicked = torch.nonzero(batch.labels > 0.5).flatten()
        share = self.rate * (min(1.0, progress / self.rising) if self.rising else 1.0)
        lowest = scores[clicked].argsort(stable=True)[: int(share * len(clicked))]
        dropped = torch.isin(batch.rows, batch.rows[clicked[lowest]])
        return torch.nonzero(~dropped).flatten()
