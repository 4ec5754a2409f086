"""SMART: locally stable predictions, and weights near their moving average (Jiang et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.training.defense import Trainer, TrainingContext, model_scores
from recgauntlet_baselines.defenses._adversarial import Inner
from recgauntlet_baselines.defenses._consistency import Consistency, random_start, symmetric_kl
from recgauntlet_baselines.defenses._passes import evaluation_mode


@dataclass(kw_only=True, eq=False)
class SMART(Consistency):
    """`L(Y, M(X)) + lam * S(M(X), M(X + delta)) + mu * S(M(X), M'(X))`, `S(p, q) = KL(p || q) + KL(q || p)`.

    Smoothness-inducing regularization: `delta` is where `S` is largest in the ball, by gradient ascent from a small
    random start. Bregman proximal point: `M'`, the momentum teacher, has the moving average of the weights,
    `theta' <- momentum * theta' + (1 - momentum) * theta` after every step, the first weights at the start.

    Deviations from the paper: L2 ball with a relative radius of the size that threats have, which rises over a warm-up
    (the paper: an Linf ball of 1e-5 that makes fine-tuning smooth); the teacher scores without dropout; its momentum
    stays as it is; training starts from scratch, so the teacher follows faster than the paper's 0.999.

    Parameters
    ----------
    epsilon
        The ball's radius, relative to the mean L2 norm of a token's embedding in the batch.
    lam
        The weight of the smoothness, `lambda_s` in the paper.
    mu
        The weight of the proximal term.
    momentum
        The share that the teacher keeps in a step, `beta` in the paper.
    warmup
        The share of training over which the radius rises linearly from 0.
    steps, step_size
        Inner steps, and the length of each, relative to the radius.
    """

    citation = bibtex("jiang2020smart")
    search_space: ClassVar[SearchSpace] = {
        "epsilon": Between(0.1, 1.0, log=True),
        "lam": Between(0.3, 5.0, log=True),
        "mu": Between(0.1, 3.0, log=True),
    }

    epsilon: float = 0.25
    lam: float = 1.0
    mu: float = 1.0
    momentum: float = 0.95
    warmup: float = 0.3
    steps: int = 2
    step_size: float = 0.5
    _teacher: dict[str, Tensor] = field(default_factory=dict, init=False)

    def step(self, trainer: Trainer, batch: Batch) -> Tensor:
        if not self._teacher or trainer.context.step == 0:
            self._teacher = {name: value.detach().clone() for name, value in trainer.model.named_parameters()}
        loss = super().step(trainer, batch)
        for name, value in trainer.model.named_parameters():
            self._teacher[name].lerp_(value.detach(), 1 - self.momentum)
        return loss

    def perturb(self, inner: Inner, clean: Tensor, reach: Tensor, context: TrainingContext) -> Tensor:
        return inner.ascend(
            random_start(inner, reach, context),
            reach,
            steps=self.steps,
            step_size=self.step_size,
            objective=lambda scores: symmetric_kl(clean, scores).mean(),
        )

    def loss(self, model: Recommender, batch: Batch, clean: Tensor, perturbed: Tensor) -> Tensor:
        loss = model.click_loss(clean, batch) + self.lam * symmetric_kl(clean, perturbed).mean()
        if not self._teacher or self.mu == 0.0:
            return loss  # before the first step the teacher is the model
        with served_with(model, self._teacher), torch.no_grad():
            taught = model_scores(model, batch)
        return loss + self.mu * symmetric_kl(clean, taught).mean()


@contextmanager
def served_with(model: Recommender, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """The model in evaluation mode with other `weights`; afterwards as it was. Graphs that are there stay valid: the
    values are exchanged, not written over."""
    own = {name: parameter.data for name, parameter in model.named_parameters()}
    with evaluation_mode(model):
        try:
            for name, parameter in model.named_parameters():
                parameter.data = weights[name]
            yield
        finally:
            for name, parameter in model.named_parameters():
                parameter.data = own[name]
