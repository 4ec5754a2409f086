"""An attack under test, its tiny victims, and its results for every threat that it supports."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import TIERS, Tier
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import BudgetExceeded
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import fit
from recgauntlet.core.types import Scalar
from recgauntlet.testing.check import CheckSkipped, ConformanceError
from recgauntlet.testing.defense_subject import tiny_model
from recgauntlet.testing.subject import Subject
from recgauntlet.testing.tiny import tiny_threats, tiny_world, whole
from recgauntlet.testing.tiny_models import TinyTitles
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding_scale import embedding_scale
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.victim import Victim
from recgauntlet.training.defense import click_loss, model_scores
from recgauntlet.training.device import make_deterministic

STEPS = 60
"""Training steps of the victim: enough to be right about the clean examples."""


@dataclass(frozen=True)
class AttackSubject(Subject[Attack]):
    """An attack under test on a small trained model."""

    name: str = ""
    """The registered one; empty for a class that was handed in."""

    @cached_property
    def world(self) -> AttackerKnowledge:
        """What an attacker knows of it."""
        return tiny_world(self.data)

    @cached_property
    def model(self) -> Recommender:
        """A trained victim."""
        return trained_victim(self.data)

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

    def make(self, **options: Scalar) -> Attack:
        """A new object."""
        return self.plugin(**{**self.options, **options})

    def victim(self, model: Recommender | None = None) -> Victim:
        """A fresh victim over the test pairs, its users encoded and its clean scores known."""
        model, batch = self.model if model is None else model, whole(self.data.test)
        victim = Victim(model, self.world, embedding_scale(model, self.data.catalog), batch)
        victim.prepare()
        victim.partner_scores(batch.example_ids)
        return victim

    def require_repeatable(self) -> None:
        """CheckSkipped where one seed gives different inputs: then a difference between two runs says nothing."""
        if not self.repeatable:
            raise CheckSkipped("the attack is not deterministic, so results cannot be compared (see determinism)")

    @cached_property
    def repeatable(self) -> bool:
        """Whether the same question gets the same answer, at the standard tier."""
        pairs = [(self.perturb(budget)[0], self.perturb(budget)[0]) for budget in self.at("standard")]
        return not any(bool(unlike(first, second, self.world, 0.0).any()) for first, second in pairs)

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
    ) -> tuple[Batch, Victim]:
        """What a new object returns, whatever it is, and the victim that it asked."""
        victim = self.victim() if victim is None else victim
        victim.reset(budget.queries)
        make_deterministic(0)
        try:
            found = self.make().perturb(
                victim, victim.clean if on is None else on, budget, Randomness(seed, "conformance")
            )
        except BudgetExceeded as error:
            raise ConformanceError(
                f"{budget.threat.id}, {budget.tier} tier, {budget.queries} queries: it asks for more ({error})",
                "count what you ask for (a gradient is one query an example), or look at victim.remaining",
            ) from error
        return found, victim


def trained_victim(data: TaskData) -> Recommender:
    """A tiny model of titles after plain training, as the evaluation hands it to attacks."""
    model = tiny_model(TinyTitles, data)
    batch = whole(data.train)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch.autograd.backward(click_loss(model_scores(model, batch), batch))
        optimizer.step()
    return model.eval().requires_grad_(False)


def damage(victim: Victim, batch: Batch) -> Tensor:
    """`[B]`: how far each example is on the wrong side of 0."""
    victim.reset(None)
    return (1 - 2 * batch.labels) * victim.scores(batch)


def unlike(first: Batch, second: Batch, world: AttackerKnowledge, most: float) -> Tensor:
    """`[B]`: which examples differ: texts and histories at all, embedding changes by an L2 norm of more than `most`."""
    differ = torch.tensor([a != b for a, b in zip(shown(first, world), shown(second, world), strict=True)])
    differ |= (first.histories() != second.histories()).any(dim=1)
    deltas = [batch.delta for batch in (first, second) if batch.delta is not None]
    if deltas:
        width = max(delta.shape[1] for delta in deltas)
        gap = fit(deltas[0], width) - (fit(deltas[1], width) if len(deltas) > 1 else 0.0)
        differ |= gap.flatten(1).norm(dim=1) > most
    return differ


def shown(batch: Batch, world: AttackerKnowledge) -> tuple[str, ...]:
    """The candidates' texts as shown."""
    return batch.texts if batch.texts is not None else tuple(world.catalog.texts[i] for i in batch.items.tolist())
