"""R-Drop: two passes under different dropout must agree (Liang et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.training.defense import Defense, TrainingContext, model_scores
from recgauntlet_baselines.defenses._consistency import symmetric_kl


@dataclass(kw_only=True, eq=False)
class RDrop(Defense):
    """`(L(s1) + L(s2)) / 2 + alpha * (KL(p1 || p2) + KL(p2 || p1)) / 2`, where `s1` and `s2` are the logits of two
    passes over the same batch and `p` their chances of a click. Users are encoded in both passes, because their side
    has dropout too.

    With two classes the two divergences are together `(p1 - p2) * (s1 - s2)`, which is how they are computed: no
    logarithm, nothing that overflows.

    A model without dropout gives the same scores twice: the divergence is 0, and what is left is plain training at
    twice the price.

    Deviations from the paper: the mean of the two losses instead of their sum, so that a step is as long as that of
    plain training; the paper's weight is twice `alpha`.

    Parameters
    ----------
    alpha
        The weight of the divergence.
    """

    citation = bibtex("liang2021rdrop")
    search_space: ClassVar[SearchSpace] = {"alpha": Between(0.1, 10.0, log=True)}

    alpha: float = 1.0

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        first, second = model_scores(model, batch), model_scores(model, batch)
        loss = (model.click_loss(first, batch) + model.click_loss(second, batch)) / 2
        return loss + self.alpha * symmetric_kl(first, second).mean() / 2
