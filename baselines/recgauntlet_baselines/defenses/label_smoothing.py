"""Label smoothing: a click is worth a little less than 1, its absence a little more than 0 (Szegedy et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.training.defense import Defense, TrainingContext, model_scores


@dataclass(kw_only=True, eq=False)
class LabelSmoothing(Defense):
    """`y' = (1 - smoothing) * y + smoothing / 2`: the model's own loss on labels mixed with the even distribution over
    the two classes (Szegedy et al. 2016, section 7).

    The best logit of a certain example is `log((2 - smoothing) / smoothing)` instead of infinity, so confidence stays
    small. That bounds how far scores spread, not how easily they are turned: smaller gradients may be all that is
    gained.

    Deviation from the paper: two classes of one logit instead of a softmax over many. A model whose own loss compares a
    clicked with an unclicked candidate must take labels between 0 and 1.

    Parameters
    ----------
    smoothing
        The weight of the even distribution, 0 (plain training) to below 1.
    """

    citation = bibtex("szegedy2016rethinking")
    search_space: ClassVar[SearchSpace] = {"smoothing": Between(0.01, 0.4, log=True)}

    smoothing: float = 0.1

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        smoothed = batch.labels * (1.0 - self.smoothing) + 0.5 * self.smoothing
        return model.click_loss(model_scores(model, batch), replace(batch, labels=smoothed))
