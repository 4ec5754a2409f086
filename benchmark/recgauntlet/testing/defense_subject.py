"""A defense under test, and what it does to tiny models: trained once for all checks that only look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.plugins import Plugin
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness, derive
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.types import Scalar
from recgauntlet.testing.check import CheckSkipped
from recgauntlet.testing.process import scramble
from recgauntlet.testing.subject import Subject
from recgauntlet.testing.tiny import TOKENS, tiny_threats, whole
from recgauntlet.testing.tiny_models import TinyTitles
from recgauntlet.training.build import build_model
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet.training.device import make_deterministic
from recgauntlet.training.trainer import AdamWTrainer, train

LATE = 0.75
"""The progress at which a defense is looked at closely: warm-ups are over."""


@dataclass(frozen=True)
class DefenseSubject(Subject[Defense]):
    """A defense under test."""

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The weights after training with seed 0."""
        return weights_of(self.train(0))

    @cached_property
    def unlike_again(self) -> list[str]:
        """Which weights differ when seed 0 is trained again, the generators that no cell seeds being elsewhere."""
        first = self.weights
        scramble(1)
        return differing(first, weights_of(self.train(0)))

    def require_repeatable(self) -> None:
        """CheckSkipped where training is not deterministic: then a difference between two trainings says nothing."""
        if self.unlike_again:
            raise CheckSkipped("training is not deterministic, so weights cannot be compared (see determinism)")

    def make(self, **options: Scalar) -> Defense:
        """A new object, prepared for the tiny task."""
        defense = self.plugin(**{**self.options, **options})
        defense.prepare(tiny_threats(), self.data.catalog)
        return defense

    def train(
        self, seed: int, *, data: TaskData | None = None, model: type[Recommender] = TinyTitles, precision: str = "fp32"
    ) -> Recommender:
        """A tiny model, trained as a cell of `seed` is: a new model, a new object, its own randomness."""
        data = self.data if data is None else data
        built = tiny_model(model, data, seed)
        make_deterministic(derive(seed, "training"))
        train(built, self.make(), data, Randomness(seed, "training"), precision=precision)
        return built


def tiny_model(model: type[Recommender], data: TaskData, seed: int = 0) -> Recommender:
    """An untrained tiny model in training mode."""
    return build_model(Plugin(model.__name__, model, "", ""), data, TOKENS, {}, seed).train()


def trainer_at(model: Recommender, progress: float) -> AdamWTrainer:
    """A trainer of 20 steps that has come as far as `progress`."""
    trainer = AdamWTrainer(model, 20, Randomness(0, "conformance"), "fp32")
    trainer.context = TrainingContext(round(20 * progress), progress, trainer.context.rng)
    return trainer


def take_steps(defense: Defense, model: Recommender, data: TaskData, steps: int = 2) -> list[str]:
    """The names of the parameters that `steps` late steps move."""
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    trainer = trainer_at(model, LATE)
    for _ in range(steps):
        trainer.advance(defense, whole(data.train))
    return [name for name, value in model.named_parameters() if not torch.equal(before[name], value)]


def weights_of(model: Recommender) -> dict[str, Tensor]:
    """A copy of all weights and buffers."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def differing(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> list[str]:
    """The names of weights that are not the same bit for bit."""
    names = sorted(first.keys() | second.keys())
    return [n for n in names if n not in first or n not in second or not torch.equal(first[n], second[n])]


def scores_of(model: Recommender, data: TaskData) -> Tensor:
    """The logits of the test pairs, in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return score_batch(model, whole(data.test).to(model.device)).cpu()
