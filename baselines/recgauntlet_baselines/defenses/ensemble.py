"""Ensemble adversarial training: several models are trained together on each other's adversarial examples."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender, embedding_mask
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import derive
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.training.defense import Defense, Trainer, TrainingContext
from recgauntlet.training.trainer import AdamWTrainer
from recgauntlet_baselines.defenses._adversarial import Inner, RisingRadius, l2_unit
from recgauntlet_baselines.defenses._passes import encode


@dataclass(kw_only=True, eq=False)
class Ensemble(RisingRadius):
    """`L(M_i(x)) + lam * L(M_i(x + delta_j))` for every member i, `delta_j` made on another member j with one step
    along its gradient (Tramèr et al. 2018). Member j is the next one, then the one after it, and so on from step to
    step.

    Perturbations from elsewhere cannot be weakened by a model that hides its own gradients, which is what training on
    one's own single-step examples can end in.

    Deviations from the paper: the others are not trained beforehand and fixed, they learn together with the model, each
    on examples of the others; embeddings are perturbed instead of inputs, with the relative L2 ball of `fgm`. A
    perturbation is carried over to another member's embeddings with its length relative to theirs. That means most
    where members have a common origin (word vectors of one encoder, as `nrms` and `bert` have); where every member
    draws its embeddings afresh (vectors of item ids), it is little more than noise.

    The first model is served; the others are dropped, so inference costs what one model costs. Siblings have the first
    model's architecture and recipe, first weights of seeds of their own, and optimizers and schedules as its trainer
    has. The record's passes are the first model's; its seconds and FLOPs are those of all members.

    Parameters
    ----------
    members
        Models that are trained, the served one included; at least 2.
    epsilon
        The ball's radius, relative to the member's embeddings.
    lam
        The weight of the adversarial loss.
    warmup
        The share of training over which the radius rises linearly from 0; weights are kept as best only after it.
    """

    citation = bibtex("tramer2018ensemble")
    search_space: ClassVar[SearchSpace] = {
        "members": OneOf((2, 3)),
        "epsilon": Between(0.05, 1.0, log=True),
        "lam": Between(0.1, 4.0, log=True),
    }

    members: int = 3
    epsilon: float = 0.25
    lam: float = 1.0
    warmup: float = 0.3
    _first: Trainer | None = field(default=None, init=False)
    _others: list[AdamWTrainer] = field(default_factory=list, init=False)

    trains_in_parallel: ClassVar[bool] = False  # siblings have trainers of their own

    def step(self, trainer: Trainer, batch: Batch) -> Tensor:
        if self._first is not trainer:
            self._first, self._others = trainer, siblings(trainer, self.members - 1)
        context = trainer.context
        radius = self.radius(context)
        passes = [CleanPass(member.model, batch) for member in (trainer, *self._others)]
        count = len(passes)
        shift = 1 + context.step % max(1, count - 1)
        # all perturbations before any step: every member is as it was when the batch came
        losses = [
            passed.loss
            if radius == 0.0
            else passed.loss + self.lam * passed.attacked(passes[(i + shift) % count], radius)
            for i, passed in enumerate(passes)
        ]
        for member, loss in zip(self._others, losses[1:], strict=True):
            member.advance(_Given(loss), batch)
        trainer.minimize(losses[0])
        return losses[0].detach()

    def wrap(self, model: Recommender) -> Recommender:
        self._first, self._others = None, []  # training is over
        return model


class _Given(Defense):
    """Minimizes a loss that is there already: for the optimizer and schedule of a sibling."""

    def __init__(self, loss: Tensor) -> None:
        self._loss = loss

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        return self._loss


class CleanPass:
    """A member's pass over a batch, its graph kept."""

    def __init__(self, model: Recommender, batch: Batch) -> None:
        encoded = encode(model, batch)
        if not encoded.embedded.requires_grad:  # frozen embeddings
            encoded = replace(encoded, embedded=encoded.embedded.detach().requires_grad_(True))
        self.encoded = encoded
        self.loss = encoded.loss()

    def direction(self) -> Tensor:
        """`[B, L, D]`: the steepest way up the loss, of length 1 an example."""
        embedded = self.encoded.embedded
        (gradient,) = torch.autograd.grad(self.loss, embedded, retain_graph=True)
        return l2_unit(gradient * embedding_mask(self.encoded.candidates, embedded).unsqueeze(-1))

    def attacked(self, source: CleanPass, radius: float) -> Tensor:
        """The loss under the perturbation of `source`, as long as `radius` means among one's own embeddings."""
        embedded = self.encoded.embedded
        delta = source.direction().to(embedded) * (radius * Inner.of(self.encoded).norm)
        return self.encoded.loss(embedded + delta)


def siblings(first: Trainer, count: int) -> list[AdamWTrainer]:
    """Trainers of `count` untrained siblings of the first trainer's model, as far in training as it is."""
    rng = first.context.rng.child("sibling")
    trainers = []
    for number in range(count):
        model = first.model.sibling(derive(rng.seed, rng.purpose, number)).train()
        # inside the first trainer's autocast, whatever its precision
        trainer = AdamWTrainer(model, first.total_steps, rng.child(str(number)), "fp32")
        trainer.context = TrainingContext(first.context.step, first.context.progress, trainer.context.rng)
        trainers.append(trainer)
    return trainers
