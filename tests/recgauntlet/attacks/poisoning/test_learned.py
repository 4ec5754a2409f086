"""The surrogate's derivatives are right, and both learned attacks go where these lead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from poison_task import make_store
from torch import Tensor

from recgauntlet.attacks.poisoning.base import PoisoningKnowledge, targets_of
from recgauntlet.attacks.poisoning.factors import Factorization
from recgauntlet.attacks.poisoning.learned import PGA, Problem, RevAdv
from recgauntlet.attacks.poisoning.tables import PoisonStore
from recgauntlet.core.rng import Randomness
from recgauntlet.data.takes import Takes
from recgauntlet.threats.training_data import PoisonBudget

RNG = Randomness(0, "test")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PoisonStore:
    return make_store(tmp_path_factory.mktemp("poison"))[0]


@pytest.fixture(scope="module")
def small() -> Takes:
    """Twelve users and eight items."""
    users, items = np.nonzero(np.random.default_rng(0).random((12, 8)) < 0.4)
    return Takes.of(users, items, np.arange(len(users)))


def problem_of(store: PoisonStore, attack: PGA | RevAdv) -> Problem:
    knowledge = PoisoningKnowledge.of(store.genuine, "training-data")
    targets, length = store.verifier.targets, PoisonBudget.of(store.threat, "high", store.genuine).length
    assert knowledge.training is not None
    owns = [targets_of(account, targets, length) for account in range(12)]
    return attack._problem(knowledge, knowledge.training, targets, owns, length)


def drawn(problem: Problem) -> Tensor:
    return problem.highest(torch.rand(problem.own.shape, generator=RNG.torch(), dtype=torch.float64))


def objective(training: Factorization, users: Tensor, items: Tensor) -> Tensor:
    """What the surrogate minimizes, pair by pair."""
    r = training.taken.to_dense()
    loss = ((1 + training.alpha * r) * (r - users @ items.T) ** 2).sum()
    return loss + training.ridge * (users.square().sum() + items.square().sum())


def test_a_sweep_ends_where_the_objective_has_no_slope(small: Takes) -> None:
    training = Factorization.of(small, 8, rank=3, alpha=5.0, ridge=0.7)
    nobody = torch.zeros((0, 8), dtype=torch.float64)
    items = training.trained(training.start(RNG), nobody, 400).requires_grad_()
    users = training.users(items).detach().requires_grad_()
    for slope in torch.autograd.grad(objective(training, users, items), (users, items)):
        assert slope.abs().max() < 1e-6


def test_whole_accounts_count_as_genuine_users_do(small: Takes) -> None:
    training = Factorization.of(small, 8, rank=3, alpha=5.0, ridge=0.7)
    some = small.users < 9
    part = Factorization.of(small.where(some), 8, rank=3, alpha=5.0, ridge=0.7)
    others = training.taken.to_dense()[9:]
    start, nobody = training.start(RNG), torch.zeros((0, 8), dtype=torch.float64)
    assert torch.allclose(training.trained(start, nobody, 3), part.trained(start, others, 3))


def test_the_derivatives_of_a_sweep_are_right(small: Takes) -> None:
    training = Factorization.of(small, 8, rank=2, alpha=5.0, ridge=0.7)
    items = training.start(RNG).requires_grad_()
    rows = torch.rand((1, 8), generator=RNG.torch(1), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(training.sweep, (items, rows))


def test_the_slope_of_pga_is_that_of_the_scores_after_training_to_the_end(store: PoisonStore) -> None:
    attack = PGA(rank=2, terms=60)
    problem = problem_of(store, attack)
    surrogate = problem.surrogate
    start = surrogate.start(RNG)

    def trained(fillers: Tensor) -> Tensor:
        return surrogate.trained(start, problem.rows(fillers), 120)

    def value(fillers: Tensor) -> float:
        items = trained(fillers)
        return float((surrogate.users(items)[problem.audience] @ items[problem.targets].T).mean())

    fillers = 0.8 * drawn(problem) + 0.1 * problem.allowed
    slope = attack.slope(problem, fillers, trained(fillers))
    for account, item in [(0, int(slope[0].argmax())), (3, int(slope[3].argmin()))]:
        step = torch.zeros_like(fillers)
        step[account, item] = 1e-4
        measured = (value(fillers + step) - value(fillers - step)) / 2e-4
        assert float(slope[account, item]) == pytest.approx(measured, rel=1e-3)


def test_pga_raises_the_targets_scores(store: PoisonStore) -> None:
    attack = PGA()
    problem = problem_of(store, attack)
    surrogate, first = problem.surrogate, drawn(problem)

    def value(fillers: Tensor) -> float:
        items = surrogate.trained(surrogate.start(RNG), problem.rows(fillers), 20)
        return float((surrogate.users(items)[problem.audience] @ items[problem.targets].T).mean())

    assert value(attack.optimized(problem, first, RNG)) > 1.01 * value(first)


def test_revadv_lowers_its_loss(store: PoisonStore) -> None:
    attack = RevAdv(steps=5)
    problem = problem_of(store, attack)
    start, first = problem.surrogate.start(RNG), drawn(problem)
    before = float(attack.loss(problem, first, start))
    assert float(attack.loss(problem, attack.optimized(problem, first, RNG), start)) < 0.99 * before


def test_the_projection_gives_the_nearest_legal_point(store: PoisonStore) -> None:
    problem = problem_of(store, PGA())
    inside = problem.nearest(drawn(problem))
    assert torch.allclose(inside, drawn(problem), atol=1e-9)
    values = 2 * torch.rand(problem.own.shape, generator=RNG.torch(2), dtype=torch.float64) - 0.5
    found = problem.nearest(values)
    assert torch.allclose(found.sum(dim=1), problem.fillers)
    assert found.min() >= 0
    assert found.max() <= 1
    assert not found[:, problem.allowed == 0].any()
    # the nearest point of a convex set is at an obtuse angle from every other of its points
    assert (((values - found) * (drawn(problem) - found)) * problem.allowed).sum(dim=1).max() <= 1e-9


@pytest.mark.parametrize("attack", [PGA(steps=2), RevAdv(steps=2)], ids=lambda attack: attack.name)
def test_targets_come_last_and_the_training_data_is_needed(attack: PGA | RevAdv, store: PoisonStore) -> None:
    knowledge = PoisoningKnowledge.of(store.genuine, "training-data")
    targets, budget = store.verifier.targets, PoisonBudget.of(store.threat, "high", store.genuine)
    found = attack.accounts(knowledge, targets, budget, RNG)
    for account in range(found.count):
        last = found.items[found.accounts == account][-len(targets.items) :]
        assert set(last.tolist()) == set(targets.items.tolist())
    with pytest.raises(ValueError, match="genuine training interactions"):
        attack.accounts(replace(knowledge, training=None), targets, budget, RNG)


@pytest.mark.parametrize("attack", [PGA(steps=2), RevAdv(steps=2)], ids=lambda attack: attack.name)
def test_accounts_without_room_for_fillers_hold_targets_alone(attack: PGA | RevAdv, store: PoisonStore) -> None:
    knowledge = PoisoningKnowledge.of(store.genuine, "training-data")
    budget = replace(PoisonBudget.of(store.threat, "high", store.genuine), length=1)
    found = attack.accounts(knowledge, store.verifier.targets, budget, RNG)
    assert found.count == len(found) == budget.accounts
    assert np.isin(found.items, store.verifier.targets.items).all()
