"""Adversarial weight perturbation: the loss must be low in a neighbourhood of the weights too (Wu, Xia and Wang
2020)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.training.defense import Trainer
from recgauntlet_baselines.defenses._adversarial import Inner
from recgauntlet_baselines.defenses._passes import encode
from recgauntlet_baselines.defenses.pgd import PGD


@dataclass(kw_only=True, eq=False)
class AWP(PGD):
    """`min_w max_v L(w + v; x) + lam * L(w + v; x + delta)` with `|v_l| <= gamma * |w_l|` in every layer l.

    A step: `delta` is made as by `pgd`; `v_l = gamma * |w_l| * g_l / |g_l|` with `g` the gradient of the adversarial
    loss at `w` (Wu et al. 2020, equation 9, with one step); the gradient of both losses is taken at `w + v`; the
    weights are put back, bit for bit, and that gradient is followed from `w` (algorithm 1).

    A layer is a parameter with more than one dimension, as in the authors' code; offsets and scales are not perturbed.
    An embedding table is one layer: its perturbation lies in the rows that the batch uses.

    Deviations from the paper: `pgd`'s clean loss beside the adversarial one; `delta` is not made anew at `w + v`;
    `gamma` rises with the radius over the warm-up (the authors begin with it after some epochs). The model's auxiliary
    loss is added at the weights themselves.

    Beside `pgd` a step costs one more forward and backward pass of candidates and users.

    Parameters
    ----------
    gamma
        The radius of a layer's perturbation, relative to the norm of its weights.
    """

    citation = bibtex("madry2018towards", "wu2020adversarial")
    search_space: ClassVar[SearchSpace] = {
        "epsilon": Between(0.05, 1.0, log=True),
        "lam": Between(0.1, 4.0, log=True),
        "gamma": Between(1e-3, 2e-2, log=True),
    }

    gamma: float = 5e-3

    def step(self, trainer: Trainer, batch: Batch) -> Tensor:
        share = self.share(trainer.context)
        radius = self.epsilon * share
        if radius == 0.0:
            return super().step(trainer, batch)
        encoded = encode(trainer.model, batch)
        delta = self.perturb(Inner.of(encoded), radius)
        uphill = trainer.gradients(encoded.loss(encoded.embedded + delta))
        with moved_weights(trainer.parameters, uphill, self.gamma * share):
            encoded = encode(trainer.model, batch)
            clean = encoded.loss()
            loss = clean + self.lam * encoded.loss(encoded.embedded + delta)
            gradients = trainer.gradients(loss)
        trainer.apply(gradients)
        return loss.detach()


@contextmanager
def moved_weights(parameters: Sequence[Tensor], directions: Sequence[Tensor | None], gamma: float) -> Iterator[None]:
    """Inside, every parameter of more than one dimension is moved by `gamma` times its norm along its direction;
    afterwards it is what it was, bit for bit, whatever happened."""
    moved = [(p, d) for p, d in zip(parameters, directions, strict=True) if d is not None and p.ndim > 1]
    kept = [parameter.detach().clone() for parameter, _ in moved]
    try:
        with torch.no_grad():
            for parameter, direction in moved:
                length = direction.norm()
                factor = torch.where(length > 0, gamma * parameter.norm() / length, 0.0)
                parameter.add_(direction * factor)
        torch.clear_autocast_cache()  # autocast keeps low-precision copies of the weights, which are now others
        yield
    finally:
        with torch.no_grad():
            for (parameter, _), before in zip(moved, kept, strict=True):
                parameter.copy_(before)
        torch.clear_autocast_cache()
