"""A model under test: built and trained on the tiny task, and scored in every way that the harness scores it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.plugins import Plugin
from recgauntlet.core.protocol import SAME
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness, derive
from recgauntlet.core.scoring import score_batch
from recgauntlet.evaluation.setup import change
from recgauntlet.testing.check import require
from recgauntlet.testing.defense_subject import differing, weights_of
from recgauntlet.testing.process import scramble
from recgauntlet.testing.subject import Subject
from recgauntlet.testing.tiny import SHORT, TOKENS, whole
from recgauntlet.training.build import build_model
from recgauntlet.training.defense import Defense
from recgauntlet.training.device import make_deterministic
from recgauntlet.training.trainer import train


@dataclass(frozen=True)
class ModelSubject(Subject[Recommender]):
    """A recommender under test."""

    @cached_property
    def untrained(self) -> Recommender:
        """A model with its first weights, in evaluation mode. Shared between checks too."""
        return self.build(0).eval()

    @cached_property
    def model(self) -> Recommender:
        """A trained model in evaluation mode. Shared between checks: look, and change nothing."""
        return self.train(0)

    @cached_property
    def unlike_again(self) -> list[str]:
        """Which weights differ when seed 0 is trained again, the generators that no cell seeds being elsewhere."""
        first = weights_of(self.model)
        scramble(1)
        return differing(first, weights_of(self.train(0)))

    def twin(self) -> Recommender:
        """A copy of the trained model that may be changed."""
        model = self.build(0)
        model.load_state_dict(weights_of(self.model))
        return model.eval()

    @cached_property
    def batch(self) -> Batch:
        """The test pairs."""
        return whole(self.data.test)

    def build(self, seed: int, data: TaskData | None = None) -> Recommender:
        """An untrained model, its first weights drawn from `seed`."""
        data = self.data if data is None else data
        return build_model(Plugin(self.plugin.__name__, self.plugin, "", ""), data, TOKENS, dict(self.options), seed)

    def train(self, seed: int, data: TaskData | None = None, precision: str = "fp32") -> Recommender:
        """A model after a few steps of plain training at its own learning rate."""
        data = self.data if data is None else data
        model = self.build(seed, data)
        model.recipe = replace(SHORT, learning_rate=model.recipe.learning_rate, epochs=1)
        make_deterministic(derive(seed, "training"))
        train(model, Defense(), data, Randomness(seed, "training"), precision=precision)
        return model.eval()


@torch.no_grad()
def scores(model: Recommender, batch: Batch) -> Tensor:
    """The logits `[B]` of a batch, on the CPU."""
    return score_batch(model, batch.to(model.device)).cpu()


def require_same(before: Tensor, after: Tensor, what: str, remedy: str = "") -> None:
    """ConformanceError where two ways to the same scores differ by more than rounding."""
    found = change(before, after)
    require(found <= SAME, f"{what}: scores differ by {found:.2g} of their own spread", remedy)


def single(batch: Batch, row: int) -> Batch:
    """One example with its user alone."""
    return replace(
        batch,
        users=batch.users.select(batch.rows[row : row + 1]),
        rows=torch.zeros(1, dtype=torch.int64),
        items=batch.items[row : row + 1],
        labels=batch.labels[row : row + 1],
        example_ids=batch.example_ids[row : row + 1],
        texts=None if batch.texts is None else batch.texts[row : row + 1],
    )


def texts_of(model: Recommender, batch: Batch) -> list[str]:
    """The catalog's texts of the candidates."""
    return [model.catalog.texts[i] for i in batch.items.tolist()]
