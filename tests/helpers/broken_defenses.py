"""Defenses that each break one rule of the contract, and keep to all the others."""

from __future__ import annotations

import copy
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from recgauntlet import Batch, Between, Defense, Pairs, Recommender, TrainingContext, click_loss, model_scores
from recgauntlet.core.search_space import SearchSpace


class Positional(Defense):
    def __init__(self, epsilon: float = 0.25) -> None:
        self.epsilon = epsilon


class Crashes(Defense):
    """Forgets that there may be a batch of another size."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        return super().training_loss(model, batch, context) + (batch.labels * torch.ones(3)).mean()


class LosesEverything(Defense):
    def filter(self, pairs: Pairs) -> Pairs:
        return pairs.select(slice(0))


class Clips(Defense):
    """Keeps another value than the one it was given."""

    def __init__(self, *, epsilon: float = 0.25) -> None:
        self.epsilon = min(epsilon, 0.2)


class WithEpsilon(Defense):
    def __init__(self, *, epsilon: float = 0.25) -> None:
        self.epsilon = epsilon


class Anneals(WithEpsilon):
    """Changes its hyper-parameter while it trains."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        self.epsilon *= 0.9
        return super().training_loss(model, batch, context)


class NeverReady(Defense):
    def ready(self, context: TrainingContext) -> bool:
        return context.progress > 1.0


class CutsHistories(Defense):
    def filter(self, pairs: Pairs) -> Pairs:
        return replace(pairs, histories=pairs.histories[:, 1:])


class FiltersOnce(Defense):
    """Drops a pair from what it is given first, and nothing afterwards."""

    def __init__(self) -> None:
        self.done = False

    def filter(self, pairs: Pairs) -> Pairs:
        first, self.done = not self.done, True
        return pairs.select(slice(1, None)) if first else pairs


class TunesWhatIsNotThere(Defense):
    search_space: ClassVar[SearchSpace] = {"rate": Between(0.1, 0.5)}


class TunesAnotherType(WithEpsilon):
    search_space: ClassVar[SearchSpace] = {"epsilon": Between(1, 4)}


class InventsASurface(Defense):
    def wrap(self, model: Recommender) -> Recommender:
        served: Any = copy.copy(model)
        served.surfaces = frozenset({"price"})
        return served  # type: ignore[no-any-return]


class DetachesTheUser(Defense):
    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        state = model.encode_user(batch.users).select(batch.rows).detach()
        return click_loss(model.score(state, model.candidates(batch.items)), batch)


class TakesTheTokensMask(Defense):
    """Moves the real tokens alone, and does not know models of item ids."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        state, candidates = model.encode_user(batch.users).select(batch.rows), model.candidates(batch.items)
        moved = torch.zeros_like(model.embed(candidates))
        moved[candidates.tokens.mask] = 0.1
        return click_loss(model.score(state, candidates, model.embed(candidates) + moved), batch)


class NeedsSinglePrecision(Defense):
    """numpy has no bfloat16."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        spread = float(model.encode_user(batch.users).tensors[0].detach().numpy().std())
        return super().training_loss(model, batch, context) / (1 + spread)


class StaysInSinglePrecision(Defense):
    """Its matrix does not follow the model."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        state, candidates = model.encode_user(batch.users).select(batch.rows), model.candidates(batch.items)
        embedded = model.embed(candidates)
        return click_loss(model.score(state, candidates, embedded @ torch.eye(embedded.shape[2])), batch)


class RollsDice(Defense):
    """Asks the system for its noise."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        return super().training_loss(model, batch, context) * (1 + int.from_bytes(os.urandom(4), "big") / 2**33)


class GlobalNoise(Defense):
    """Draws from the generator that drives the models' dropout."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        return super().training_loss(model, batch, context) * (1 + 0.1 * torch.rand(()))


class Peeks(Defense):
    """Looks for the test period in the frames above."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        frame: Any = sys._getframe()
        while frame is not None and frame.f_code.co_name != "train":
            frame = frame.f_back
        found = 0.0 if frame is None else float(frame.f_locals["data"].test.clicked.mean())
        return super().training_loss(model, batch, context) * (1 + found / 100)


class Remembers(Defense):
    """Counts its steps on the class."""

    steps: ClassVar[list[int]] = []

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        self.steps.append(context.step)
        return super().training_loss(model, batch, context)


class _Last:
    seed: int | None = None


class ComparesSeeds(Defense):
    """Trains otherwise when the cell before had another seed; what it knows lies in another class."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        other = _Last.seed is not None and _Last.seed != context.rng.seed
        _Last.seed = context.rng.seed if context.progress > 0.8 or _Last.seed is None else _Last.seed
        return super().training_loss(model, batch, context) * (2.0 if other else 1.0) ** 2 + (
            0.01 * model_scores(model, batch).square().mean() if other else 0.0
        )


class WritesToTheData(Defense):
    def filter(self, pairs: Pairs) -> Pairs:
        pairs.users[:] = 0
        return pairs


class KeepsItToItself(Defense):
    """What it serves depends on the object that trained."""

    def __init__(self) -> None:
        self._seen = 0

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        self._seen += len(batch)
        return super().training_loss(model, batch, context)

    def wrap(self, model: Recommender) -> Recommender:
        served: Any = copy.copy(model)
        score = model.score
        served.score = lambda *given: score(*given) * (1 + self._seen)
        return served  # type: ignore[no-any-return]


class WritesALog(Defense):
    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        Path("training.log").write_text(str(context.step), encoding="utf-8")
        return super().training_loss(model, batch, context)


class SetsTheEnvironment(Defense):
    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        os.environ["RECGAUNTLET_BROKEN_DEFENSE"] = "1"
        return super().training_loss(model, batch, context)


class KeepsLosses(Defense):
    """Every loss with its graph."""

    def __init__(self) -> None:
        self._losses: list[Tensor] = []

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        self._losses.append(super().training_loss(model, batch, context))
        return self._losses[-1]


class NeverStops(Defense):
    """Hundreds of passes a step, late in training."""

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        if context.step >= 15:
            with torch.no_grad():
                again = torch.arange(len(batch)).repeat(250)
                model_scores(model, batch.select(again))
        return super().training_loss(model, batch, context)
