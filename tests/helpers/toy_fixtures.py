"""A trained toy recommender, its world and its examples, made once for all attack tests."""

from __future__ import annotations

import pytest
import torch
from toy_recommender import Run, ToyRecommender, make_batch, make_catalog, make_victim, train

from recgauntlet.attacks.base import Attack
from recgauntlet.core.batch import Batch
from recgauntlet.core.rng import Randomness
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.victim import Victim


@pytest.fixture(scope="session")
def world() -> AttackerKnowledge:
    catalog = make_catalog()
    return AttackerKnowledge(catalog, references=make_batch(catalog, seed=9, first_id=9000))


@pytest.fixture(scope="session")
def model(world: AttackerKnowledge) -> ToyRecommender:
    torch.manual_seed(0)
    return train(ToyRecommender(world.catalog))


@pytest.fixture(scope="session")
def batch(world: AttackerKnowledge) -> Batch:
    return make_batch(world.catalog)


@pytest.fixture
def victim(model: ToyRecommender, world: AttackerKnowledge, batch: Batch) -> Victim:
    return make_victim(model, world, batch)


@pytest.fixture
def run(victim: Victim, batch: Batch) -> Run:
    """Run an attack inside its budget; the perturbed batch and the damage `[B]` (above 0: the victim
    errs)."""

    def run_attack(attack: Attack, budget: Budget, on: Batch | None = None) -> tuple[Batch, torch.Tensor]:
        examples = batch if on is None else on
        victim.reset(budget.queries)
        found = attack.perturb(victim, examples, budget, Randomness(0, "test"))
        victim.reset(None)
        return found, (1 - 2 * examples.labels) * victim.scores(found)

    return run_attack
