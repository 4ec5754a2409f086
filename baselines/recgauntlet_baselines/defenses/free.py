"""Free adversarial training: one backward pass moves the weights and the perturbation (Shafahi et al. 2019)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.training.defense import Trainer
from recgauntlet_baselines.defenses._adversarial import Inner, RisingRadius, l2_clip, l2_unit
from recgauntlet_baselines.defenses._passes import encode


@dataclass(kw_only=True, eq=False)
class FreeAT(RisingRadius):
    """`L(Y, M(X + delta))` on one batch for `replays` steps, and after each `delta <- clip(delta + radius * g / |g|)`.

    `g` is the gradient of the embeddings in the very backward pass that the weights step by. So a step costs what a
    step of plain training costs. The number of steps is the harness's: a batch is held for `replays` of them, and the
    batches in between are left out, so an epoch sees one in `replays` of the training pairs.

    Deviations from the paper: the candidate's embeddings are perturbed, in an L2 ball of a relative radius that rises
    over a warm-up. `delta` starts at 0 for each new batch. The paper carries it from batch to batch, where the shape is
    always that of an image; here the places of another text mean other words, and what was worst for one title is noise
    for the next. So one pass in `replays` is on clean examples. A model's auxiliary loss, where it has one, is computed
    on the batch that the harness hands over and not on the one that is held.

    Parameters
    ----------
    epsilon
        The ball's radius and the length of a step, relative to the mean L2 norm of a token's embedding in the batch.
    warmup
        The share of training over which the radius rises linearly from 0.
    replays
        Steps for which a batch is held, `m` in the paper; 1 is plain training.
    """

    citation = bibtex("shafahi2019adversarial")
    search_space: ClassVar[SearchSpace] = {"epsilon": Between(0.1, 1.0, log=True), "replays": OneOf((2, 3, 4, 6, 8))}

    epsilon: float = 0.25
    warmup: float = 0.3
    replays: int = 3
    _held: Batch | None = field(default=None, init=False)
    _delta: Tensor | None = field(default=None, init=False)

    def step(self, trainer: Trainer, batch: Batch) -> Tensor:
        if self._held is None or trainer.context.step % self.replays == 0:
            self._held, self._delta = batch, None
        encoded = encode(trainer.model, self._held)
        inner = Inner.of(encoded)
        reach = self.radius(trainer.context) * inner.norm
        delta = torch.zeros_like(inner.embedded) if self._delta is None else self._delta
        perturbed = (encoded.embedded + delta).requires_grad_(True)
        perturbed.retain_grad()
        loss = encoded.loss(perturbed)
        trainer.minimize(loss)
        gradient = torch.zeros_like(delta) if perturbed.grad is None else perturbed.grad * inner.mask.unsqueeze(-1)
        self._delta = l2_clip(delta + l2_unit(gradient) * reach, reach)
        return loss.detach()
