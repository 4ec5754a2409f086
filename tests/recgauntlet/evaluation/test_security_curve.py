"""The security curve: which budgets it has, and what its points say."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from small_data import small_data
from torch import Tensor
from toy_recommender import (
    LinearRecommender,
    ToyRecommender,
    embedding_threat,
    headline_threat,
    history_threat,
    stuffing_threat,
    tiers,
    train,
)

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.suite import attacks_for
from recgauntlet.core.card import TIERS, TextThreat, Threat
from recgauntlet.core.journal import Journal
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation import robustness
from recgauntlet.evaluation.results import ThreatResult
from recgauntlet.evaluation.robustness import Attempt, run_attack, run_threat
from recgauntlet.evaluation.security_curve import curve_budgets, security_curve
from recgauntlet.evaluation.setup import Trial
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge

RNG = Randomness(0, "test")
THREATS = [embedding_threat(queries=30), headline_threat(40), stuffing_threat(100), history_threat(40)]


@pytest.fixture(scope="module")
def trial() -> Trial:
    data = small_data()
    torch.manual_seed(0)
    return Trial.of(train(ToyRecommender(data.catalog), steps=60), data, AttackerKnowledge(data.catalog))


@pytest.fixture(scope="module")
def linear() -> Trial:
    data = small_data()
    torch.manual_seed(0)
    return Trial.of(train(LinearRecommender(data.catalog), steps=60), data, AttackerKnowledge(data.catalog))


def amounts(threat: Threat) -> list[float]:
    return [budget.amount for budget in curve_budgets(threat)]


def test_budgets_rise_from_nothing_to_twice_the_high_tier_and_hold_the_tiers() -> None:
    assert amounts(embedding_threat()) == pytest.approx([0, 0.1, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0])
    assert amounts(stuffing_threat()) == [0, 1, 2, 3, 4, 5, 6, 8]
    assert amounts(history_threat()) == [0, 1, 2, 3, 5, 7, 8, 10]


def test_a_small_range_of_whole_numbers_has_fewer_points() -> None:
    threat = stuffing_threat().model_copy(update={"words": tiers(1, 1, 2)})
    assert amounts(threat) == [0, 1, 2, 3, 4]


def test_characters_grow_with_the_words_through_the_tiers() -> None:
    characters = [budget.characters for budget in curve_budgets(headline_threat())]
    assert characters == [0, 4, 8, 12, 16, 20, 24, 32]


def test_a_threat_of_characters_alone_runs_over_characters() -> None:
    threat = TextThreat.model_validate(
        headline_threat().model_dump() | {"words": tiers(0, 0, 0), "operations": ("replace-character",)}
    )
    budgets = curve_budgets(threat)
    assert [budget.amount for budget in budgets] == [0] * 8
    assert [budget.characters for budget in budgets] == [0, 4, 8, 12, 16, 20, 24, 32]


def test_queries_are_those_of_the_smallest_tier_that_holds_the_amount() -> None:
    assert [budget.queries for budget in curve_budgets(stuffing_threat(500))] == [100, 100, 500, *[2000] * 5]


def swept(trial: Trial, threat: Threat) -> ThreatResult:
    """The tiers of the threat on the toy's test examples, with a subset that the attacker changes."""
    index = range(0, 40, 2) if threat.goal == "flip" else range(1, 41, 2)
    return run_threat(trial, threat, RNG).model_copy(update={"subset": tuple(index)})


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.id)
def test_what_a_smaller_budget_broke_stays_broken(trial: Trial, threat: Threat) -> None:
    result = swept(trial, threat)
    bits = [point.robust for point in security_curve(trial, result, RNG)]
    assert bits[0].tolist() == trial.right[list(result.subset)].tolist()
    assert all(not (after & ~before).any() for before, after in itertools.pairwise(bits))
    assert bits[-1].sum() < bits[0].sum()


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.id)
def test_no_tier_leaves_less_than_the_curve(trial: Trial, threat: Threat) -> None:
    result = swept(trial, threat)
    points = {(point.amount, point.characters): point.robust for point in security_curve(trial, result, RNG)}
    for tier in result.tiers:
        left = tier.robust[list(result.subset)]
        assert not (points[tier.amount, tier.characters] & ~left).any()


def test_the_tiers_are_the_points_of_a_curve_of_edits(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    result = swept(trial, headline_threat(40))
    ran: list[Budget] = []

    def counting(trial: Trial, attack: Attack, budget: Budget, index: Tensor, rng: Randomness) -> Attempt:
        ran.append(budget)
        return run_attack(trial, attack, budget, index, rng)

    monkeypatch.setattr(robustness, "run_attack", counting)
    points = {(point.amount, point.characters): point.robust for point in security_curve(trial, result, RNG)}
    for tier in result.tiers:
        assert points[tier.amount, tier.characters].tolist() == tier.robust[list(result.subset)].tolist()
    assert ran
    assert not {Budget.of(result.threat, tier) for tier in TIERS} & set(ran)


def test_a_linear_model_falls_at_its_margin(linear: Trial) -> None:
    """The closed form: the smallest L2 radius is the distance of the logit from 0 over the length of its gradient."""
    threat = embedding_threat(queries=200)
    result = run_threat(linear, threat, RNG).model_copy(update={"subset": tuple(range(len(linear.batch)))})
    _, gradient, _ = linear.victim.embedding_gradient(linear.batch)
    margin = linear.scores.abs() / gradient.flatten(1).norm(dim=1) / linear.scale.norm
    for point in security_curve(linear, result, RNG):
        sure = (margin - point.amount).abs() > 0.01 * margin
        exact = linear.right & (margin > point.amount)
        assert point.robust[sure.numpy()].tolist() == exact[sure].tolist()


def test_an_interrupted_curve_goes_on_where_it_stopped(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = swept(trial, headline_threat(40))
    whole = security_curve(trial, result, RNG)
    path = tmp_path / "journal"
    real, last = run_attack, curve_budgets(result.threat)[-1]

    def killed(*arguments: object) -> object:
        if last in arguments:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(robustness, "run_attack", killed)
    with pytest.raises(KeyboardInterrupt):
        security_curve(trial, result, RNG, journal=Journal(path))
    done = len(path.read_text().splitlines()) - 1
    assert done >= 2
    counted: list[str] = []

    def counting(*arguments: object) -> object:
        counted.append("run")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(robustness, "run_attack", counting)
    assert security_curve(trial, result, RNG, journal=Journal(path)) == whole
    assert 0 < len(counted) <= len(attacks_for(result.threat)) * (len(whole) - done)
