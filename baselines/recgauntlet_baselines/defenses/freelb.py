"""FreeLB: the weights learn from every step of the inner ascent, not from its end alone (Zhu et al. 2020)."""

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
from recgauntlet_baselines.defenses._adversarial import Inner, RisingRadius, l2_clip, l2_unit
from recgauntlet_baselines.defenses._consistency import normal_draws
from recgauntlet_baselines.defenses._passes import DrawnPasses, encode


@dataclass(kw_only=True, eq=False)
class FreeLB(RisingRadius):
    """The mean over t < K of `L(Y, M(X + delta_t))`, `delta_{t+1} = clip(delta_t + step_size * radius * g_t / |g_t|)`.

    One backward pass a step gives both `g_t`, the gradient of the embeddings, and a share of the weights' gradient.
    Every element of `delta_0` is uniform in `[-1, 1]` times `radius / sqrt(elements)`, so it is in the ball. The
    optimizer steps once, with the mean of the `K` gradients.

    Cost: `K` forward and `K` backward passes of the candidates and no clean pass (PGD training: `K + 1` and `K + 1`).
    Users are encoded once; what the `K` passes ask of their states is added up and goes back through them once.

    Deviations from the paper: radii are relative to the mean L2 norm of a token's embedding in the batch, and rise over
    a warm-up; each pass draws its own dropout (the paper keeps one mask).

    Parameters
    ----------
    epsilon
        The ball's radius (L2, all token embeddings of an example), relative.
    warmup
        The share of training over which the radius rises linearly from 0.
    steps
        `K`, of which the last point moved to is not used.
    step_size
        The length of a step, relative to the radius.
    """

    citation = bibtex("zhu2020freelb")
    search_space: ClassVar[SearchSpace] = {
        "epsilon": Between(0.1, 1.0, log=True),
        "steps": OneOf((2, 3, 5)),
        "step_size": Between(0.25, 1.0),
    }

    epsilon: float = 0.25
    warmup: float = 0.3
    steps: int = 3
    step_size: float = 0.5

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        encoded = encode(model, batch)
        radius = self.radius(context)
        if radius == 0.0:
            return encoded.loss()
        inner = Inner.of(encoded)
        reach = radius * inner.norm
        delta = uniform_start(inner, context) * reach
        passes = DrawnPasses(encoded)
        for _ in range(self.steps):
            gradient = passes.draw(inner.embedded + delta)[1] * inner.mask.unsqueeze(-1)
            delta = l2_clip(delta + l2_unit(gradient) * (self.step_size * reach), reach)
        return passes.loss()


def uniform_start(inner: Inner, context: TrainingContext) -> Tensor:
    """`[B, L, D]`, uniform in `[-1, 1]` over the root of the number of an example's real elements: norm 1 at most."""
    uniform = torch.erf(normal_draws(inner, context) / 2**0.5)
    elements = inner.mask.sum(dim=1) * inner.embedded.shape[2]
    return uniform * inner.mask.unsqueeze(-1) / elements.to(uniform).sqrt()[:, None, None]
