"""TRADES: clean accuracy plus locally stable predictions (Zhang et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.training.defense import TrainingContext
from recgauntlet_baselines.defenses._adversarial import Inner
from recgauntlet_baselines.defenses._consistency import Consistency, bernoulli_kl, random_start


@dataclass(kw_only=True, eq=False)
class TRADES(Consistency):
    """`L(Y, M(X)) + beta * KL(M(X) || M(X + delta))`, `delta` being where the same KL is largest in the ball.

    The perturbation is looked for by `steps` steps of gradient ascent on the KL from a small random start; no label has
    a part in it.

    Deviations from the paper: the candidate's embeddings are perturbed, in an L2 ball; dropout stays on in the inner
    steps, as in the house's other defenses, so that the clean logits serve as their target without a pass of their own.

    Parameters
    ----------
    epsilon
        The ball's radius, relative to the mean L2 norm of a token's embedding in the batch.
    beta
        The weight of the KL, `1 / lambda` in the paper.
    warmup
        The share of training over which the radius rises linearly from 0.
    steps, step_size
        Inner steps, and the length of each, relative to the radius.
    """

    citation = bibtex("zhang2019theoretically")
    search_space: ClassVar[SearchSpace] = {
        "epsilon": Between(0.1, 1.0, log=True),
        "beta": Between(1.0, 10.0, log=True),
        "steps": OneOf((1, 3, 5)),
    }

    epsilon: float = 0.25
    beta: float = 3.0
    warmup: float = 0.3
    steps: int = 3
    step_size: float = 0.5

    def perturb(self, inner: Inner, clean: Tensor, reach: Tensor, context: TrainingContext) -> Tensor:
        return inner.ascend(
            random_start(inner, reach, context),
            reach,
            steps=self.steps,
            step_size=self.step_size,
            objective=lambda scores: bernoulli_kl(clean, scores).mean(),
        )

    def loss(self, model: Recommender, batch: Batch, clean: Tensor, perturbed: Tensor) -> Tensor:
        return model.click_loss(clean, batch) + self.beta * bernoulli_kl(clean, perturbed).mean()
