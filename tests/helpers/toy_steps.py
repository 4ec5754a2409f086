"""A trained toy and single steps on it: what the tests of defenses look at."""

from __future__ import annotations

import torch
from torch import Tensor
from toy_recommender import ToyRecommender, make_batch, make_catalog, train

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import Pairs, TrainingPeriod
from recgauntlet.core.recommender import Origin, Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet.training.trainer import AdamWTrainer


def trained_toy() -> ToyRecommender:
    """No dropout, so passes can be repeated."""
    torch.manual_seed(0)
    model = train(ToyRecommender(make_catalog(40)), steps=40)
    model.zero_grad(set_to_none=True)
    return model


def built_toy(pairs: Pairs, seed: int = 0) -> ToyRecommender:
    """An untrained one that can have siblings."""
    return ToyRecommender.build(Origin(make_catalog(40), 16, {}, TrainingPeriod(pairs, 64)), seed)


def toy_batch(users: int = 24) -> Batch:
    return make_batch(make_catalog(40), users=users, seed=5)


def at(progress: float, step: int = 3) -> TrainingContext:
    return TrainingContext(step, progress, Randomness(0, "test"))


def trainer_of(model: Recommender, progress: float = 0.75) -> AdamWTrainer:
    trainer = AdamWTrainer(model, 20, Randomness(0, "test"), "fp32")
    trainer.context = TrainingContext(round(20 * progress), progress, trainer.context.rng)
    return trainer


class Recording(AdamWTrainer):
    """A trainer that keeps the gradients it is to apply, and applies none."""

    applied: list[Tensor | None]

    @classmethod
    def of(cls, model: Recommender, progress: float = 0.75) -> Recording:
        trainer = cls(model, 20, Randomness(0, "test"), "fp32")
        trainer.context = TrainingContext(round(20 * progress), progress, trainer.context.rng)
        return trainer

    def minimize(self, loss: Tensor) -> None:
        self.applied = self.gradients(loss)

    def apply(self, gradients: list[Tensor | None]) -> None:
        self.applied = list(gradients)


def gradients_of(defense: Defense, model: Recommender, batch: Batch, progress: float = 0.75) -> list[Tensor]:
    """What a step of `defense` would follow."""
    trainer = Recording.of(model, progress)
    defense.step(trainer, batch)
    return [
        g if g is not None else torch.zeros_like(p) for g, p in zip(trainer.applied, trainer.parameters, strict=True)
    ]


def loss_of(defense: Defense, model: Recommender, batch: Batch, progress: float = 0.75) -> float:
    return float(defense.training_loss(model, batch, at(progress)).detach())
