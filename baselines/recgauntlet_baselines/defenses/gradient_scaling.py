"""Gradient scaling: the adversarial gradient is brought to the clean gradient's length before the two are added."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.training.defense import Trainer
from recgauntlet_baselines.defenses.pgd import PGD


class GradientScaling(PGD):
    """`g = g_clean + lam * g_adv * |g_clean| / |g_adv|` on the adversarial examples of `pgd`.

    With a plain sum the larger gradient decides: hard adversarial examples have a larger loss and drown the clean ones,
    and the clipping of the sum then shortens the clean part too. Here `lam` is the true ratio of the two, whatever the
    radius, so accuracy and robustness are traded by a number that means the same at every step. Where both gradients
    happen to have one length it is `pgd`.

    The idea is that of the article on adversarial training for large-model recommenders, which has no equation. The
    norm (L2 over all trained parameters together) and the reference (the clean gradient of the same batch) are ours.
    The model's auxiliary loss is added afterwards, unscaled.

    The two losses share their graph as in `pgd`; each gradient has a backward pass of its own, so the user side is gone
    through twice.
    """

    citation = bibtex("madry2018towards")
    search_space: ClassVar[SearchSpace] = {"epsilon": Between(0.05, 1.0, log=True), "lam": Between(0.1, 4.0, log=True)}

    def step(self, trainer: Trainer, batch: Batch) -> Tensor:
        sides = self.sides(trainer.model, batch, trainer.context)
        clean, adversarial = sides.clean_loss, sides.adversarial_loss
        if adversarial is None:
            trainer.minimize(clean)
            return clean.detach()
        own = trainer.gradients(clean, retain_graph=True)
        other = trainer.gradients(adversarial)
        length = norm_of(other)
        # no adversarial gradient at all has no direction either
        factor = self.lam * norm_of(own) / length if length > 0 else length
        trainer.apply([scaled_sum(a, b, factor) for a, b in zip(own, other, strict=True)])
        return (clean + self.lam * adversarial).detach()


def norm_of(gradients: list[Tensor | None]) -> Tensor:
    """The L2 norm of all of them together."""
    length: Tensor = torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm()
    return length


def scaled_sum(first: Tensor | None, second: Tensor | None, factor: Tensor | float) -> Tensor | None:
    """`first + factor * second`, None where both are."""
    if first is None or second is None:
        return first if second is None else factor * second
    return first + factor * second
