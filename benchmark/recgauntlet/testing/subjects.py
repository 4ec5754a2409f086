"""A defense, model or attack under test, and what it does to tiny models: trained once for all checks that look."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import TIERS, Tier
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import BudgetExceeded
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness, derive
from recgauntlet.core.scoring import fit, score_batch
from recgauntlet.core.types import Scalar
from recgauntlet.testing.check import CheckSkipped, ConformanceError, Subject, Tested, require
from recgauntlet.testing.process import scramble
from recgauntlet.testing.tiny import SHORT, tiny_threats, tiny_world
from recgauntlet.testing.tiny_models import TinyTitles, differing, tiny_model, trainer_at, weights_of
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding_scale import embedding_scale
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.victim import Victim
from recgauntlet.training.defense import Defense, click_loss, model_scores
from recgauntlet.training.device import make_deterministic
from recgauntlet.training.trainer import train


class TrainedSubject(Subject[Tested], ABC):
    """A plugin of which a tiny model can be trained."""

    @abstractmethod
    def train(self, seed: int, data: TaskData | None = None, precision: str = "fp32") -> Recommender:
        """A tiny model, trained as a cell of `seed` is; `data` is the tiny task where it is not given."""

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


class DefenseSubject(TrainedSubject[type[Defense]]):
    """A defense under test."""

    def make_object(self) -> None:
        self.make()

    def make(self, **options: Scalar) -> Defense:
        """A new object, prepared for the tiny task."""
        defense = self.plugin(**{**self.options, **options})
        defense.prepare(tiny_threats(), self.data.catalog)
        return defense

    def model(self, kind: type[Recommender] = TinyTitles) -> Recommender:
        """A new untrained model."""
        return tiny_model(kind, self.data)

    def train(self, seed: int, data: TaskData | None = None, precision: str = "fp32") -> Recommender:
        data = self.data if data is None else data
        built = tiny_model(TinyTitles, data, seed)
        make_deterministic(derive(seed, "training"))
        train(built, self.make(), data, Randomness(seed, "training"), precision=precision)
        return built

    def try_out(self) -> None:
        model = self.train(0)
        self.take_steps(self.make(), self.model())
        scores(self.make().wrap(model).eval(), self.batch)

    def take_steps(self, defense: Defense, model: Recommender) -> list[str]:
        """The names of the parameters that two late steps move."""
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        trainer = trainer_at(model)
        for _ in range(2):
            trainer.advance(defense, self.train_batch.to(model.device))
        return [name for name, value in model.named_parameters() if not torch.equal(before[name], value)]


class ModelSubject(TrainedSubject[type[Recommender]]):
    """A recommender under test. Its models are shared between checks: look, and change nothing."""

    @cached_property
    def untrained(self) -> Recommender:
        """A model with its first weights, in evaluation mode."""
        return self.build(0).eval()

    @cached_property
    def model(self) -> Recommender:
        """A trained model in evaluation mode."""
        return self.train(0)

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        return weights_of(self.model)

    def make_object(self) -> None:
        self.build(0)

    def try_out(self) -> None:
        found = scores(self.model, self.batch)
        require(bool(torch.isfinite(found).all()), "after a few steps of training the scores are not finite")

    def twin(self) -> Recommender:
        """A copy of the trained model that may be changed."""
        model = self.build(0)
        model.load_state_dict(self.weights)
        return model.eval()

    def build(self, seed: int, data: TaskData | None = None) -> Recommender:
        """An untrained model, its first weights drawn from `seed`."""
        return tiny_model(self.plugin, self.data if data is None else data, seed, self.options)

    def train(self, seed: int, data: TaskData | None = None, precision: str = "fp32") -> Recommender:
        data = self.data if data is None else data
        model = self.build(seed, data)
        model.recipe = replace(SHORT, learning_rate=model.recipe.learning_rate, epochs=1)
        make_deterministic(derive(seed, "training"))
        train(model, Defense(), data, Randomness(seed, "training"), precision=precision)
        return model.eval()


class AttackSubject(Subject[type[Attack]]):
    """An attack under test on a small trained model."""

    @cached_property
    def world(self) -> AttackerKnowledge:
        """What the attacker knows."""
        return tiny_world(self.data)

    @cached_property
    def model(self) -> Recommender:
        """A trained victim."""
        return self.new_model()

    def new_model(self) -> Recommender:
        """A model of titles after 60 steps of plain training: enough to be right about the clean examples."""
        model, batch = tiny_model(TinyTitles, self.data), self.train_batch
        optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
        for _ in range(60):
            optimizer.zero_grad()
            torch.autograd.backward(click_loss(model_scores(model, batch), batch))
            optimizer.step()
        return model.eval().requires_grad_(False)

    @cached_property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets of the attack's surface that it supports, every tier of every threat."""
        attack = self.make()
        every = [Budget.of(threat, tier) for threat in tiny_threats() for tier in TIERS]
        return tuple(b for b in every if b.threat.surface == self.plugin.surface and attack.supports(b))

    def at(self, tier: Tier) -> tuple[Budget, ...]:
        """The supported budgets of one tier; CheckSkipped where there are none."""
        found = tuple(budget for budget in self.budgets if budget.tier == tier)
        if not found:
            raise CheckSkipped("the attack supports none of the threats that it is tried on")
        return found

    def make_object(self) -> None:
        self.make()

    def make(self, **options: Scalar) -> Attack:
        """A new object."""
        return self.plugin(**{**self.options, **options})

    def try_out(self) -> None:
        for budget in self.at("standard"):
            self.ask(budget)

    def victim(self, model: Recommender | None = None) -> Victim:
        """A fresh victim over the test pairs, its users encoded and its clean scores known."""
        model, batch = self.model if model is None else model, self.batch
        victim = Victim(model, self.world, embedding_scale(model, self.data.catalog), batch)
        victim.prepare()
        victim.partner_scores(batch.example_ids)
        return victim

    @cached_property
    def repeatable(self) -> bool:
        """Whether the same question gets the same answer, at the medium tier."""
        pairs = [(self.perturb(budget)[0], self.perturb(budget)[0]) for budget in self.at("standard")]
        return not any(bool(self.unlike(first, second, 0.0).any()) for first, second in pairs)

    def require_repeatable(self) -> None:
        """CheckSkipped where one seed gives different inputs: then a difference between two runs says nothing."""
        if not self.repeatable:
            raise CheckSkipped("the attack is not deterministic, so results cannot be compared (see determinism)")

    def perturb(
        self, budget: Budget, *, victim: Victim | None = None, on: Batch | None = None, seed: int = 0
    ) -> tuple[Batch, Victim]:
        """What a new object returns within `budget`, and the victim that it asked.

        Raises
        ------
        ConformanceError
            Where it asks for more than the budget has.
        CheckSkipped
            Where it returns no inputs of the same examples (the check `returns-inputs` says what).
        """
        found, asked = self.ask(budget, victim=victim, on=on, seed=seed)
        given = asked.clean if on is None else on
        if not isinstance(found, Batch) or not torch.equal(found.example_ids, given.example_ids):
            raise CheckSkipped("it does not return the examples that it was given (see returns-inputs)")
        return found, asked

    def ask(
        self, budget: Budget, *, victim: Victim | None = None, on: Batch | None = None, seed: int = 0
    ) -> tuple[Any, Victim]:
        """What a new object returns, whatever it is, and the victim that it asked."""
        victim = self.victim() if victim is None else victim
        victim.reset(budget.queries)
        make_deterministic(0)
        given = victim.clean if on is None else on
        try:
            return self.make().perturb(victim, given, budget, Randomness(seed, "conformance")), victim
        except BudgetExceeded as error:
            raise ConformanceError(
                f"{budget.threat.id}, {budget.tier} tier, {budget.queries} queries: it asks for more ({error})",
                "count what you ask for (a gradient is one query an example), or look at victim.remaining",
            ) from error

    def unlike(self, first: Batch, second: Batch, most: float) -> Tensor:
        """`[B]`: which examples differ: texts and histories at all, embedding changes by an L2 norm of more than
        `most`."""
        differ = torch.tensor([a != b for a, b in zip(self._texts(first), self._texts(second), strict=True)])
        differ |= (first.histories() != second.histories()).any(dim=1)
        deltas = [batch.delta for batch in (first, second) if batch.delta is not None]
        if deltas:
            width = max(delta.shape[1] for delta in deltas)
            gap = fit(deltas[0], width) - (fit(deltas[1], width) if len(deltas) > 1 else 0.0)
            differ |= gap.flatten(1).norm(dim=1) > most
        return differ

    def _texts(self, batch: Batch) -> tuple[str, ...]:
        return batch.texts if batch.texts is not None else texts_of(self.model, batch)


def require_single_precision(model: Recommender) -> None:
    """ConformanceError where a model that was trained in bfloat16 has other weights than finite ones of 32 bits."""
    bad = [n for n, w in model.named_parameters() if w.dtype != torch.float32 or not torch.isfinite(w).all()]
    require(not bad, f"trained in bfloat16, {', '.join(bad)} are not finite or of another type")


def scores(model: Recommender, batch: Batch) -> Tensor:
    """The logits `[B]` of a batch, on the CPU."""
    return score_batch(model, batch.to(model.device)).cpu()


def texts_of(model: Recommender, batch: Batch) -> tuple[str, ...]:
    """The catalog's texts of the candidates."""
    return tuple(model.catalog.texts[i] for i in batch.items.tolist())
