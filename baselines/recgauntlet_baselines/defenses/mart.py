"""MART: adversarial training that weights misclassified clean examples more (Wang et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.training.defense import TrainingContext
from recgauntlet_baselines.defenses._adversarial import Inner
from recgauntlet_baselines.defenses._consistency import Consistency, bernoulli_kl


@dataclass(kw_only=True, eq=False)
class MART(Consistency):
    """`BCE(Y, M(X + delta)) + lam * KL(M(X) || M(X + delta)) * (1 - M_Y(X))`, `delta` from PGD on the model's own loss.

    `M_Y(X)` is the chance that the clean example's true label gets: what is misclassified anyway is held together more
    firmly. `BCE`, the paper's boosted cross-entropy, is `-log M_Y(X + delta) - log(1 - max of M_k(X + delta), k != Y)`.
    With two classes the only other one has the chance `1 - M_Y`, so both of its terms are the cross-entropy: it is
    twice the model's own loss. There is no clean loss.

    Deviations from the paper: the candidate's embeddings are perturbed, in an L2 ball; no random start (with so few
    steps it costs strength); dropout stays on in the inner steps.

    Parameters
    ----------
    epsilon
        The ball's radius, relative to the mean L2 norm of a token's embedding in the batch.
    lam
        The weight of the KL.
    warmup
        The share of training over which the radius rises linearly from 0.
    steps, step_size
        Inner steps, and the length of each, relative to the radius.
    """

    citation = bibtex("wang2020improving")
    search_space: ClassVar[SearchSpace] = {
        "epsilon": Between(0.1, 1.0, log=True),
        "lam": Between(1.0, 10.0, log=True),
        "steps": OneOf((1, 3, 5)),
    }

    epsilon: float = 0.25
    lam: float = 5.0
    warmup: float = 0.3
    steps: int = 3
    step_size: float = 0.5

    def perturb(self, inner: Inner, clean: Tensor, reach: Tensor, context: TrainingContext) -> Tensor:
        return inner.ascend(torch.zeros_like(inner.embedded), reach, steps=self.steps, step_size=self.step_size)

    def loss(self, model: Recommender, batch: Batch, clean: Tensor, perturbed: Tensor) -> Tensor:
        missed = torch.sigmoid((1 - 2 * batch.labels) * clean)
        return 2 * model.click_loss(perturbed, batch) + self.lam * (missed * bernoulli_kl(clean, perturbed)).mean()
