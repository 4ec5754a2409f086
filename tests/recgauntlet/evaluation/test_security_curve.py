"""The security curve: which budgets it has, and what its points say."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small_data import small_data
from toy_recommender import (
    ToyRecommender,
    embedding_threat,
    headline_threat,
    history_threat,
    stuffing_threat,
    tiers,
    train,
)

from recgauntlet.attacks.embedding.pgd import FGM
from recgauntlet.attacks.suite import attacks_for
from recgauntlet.core.card import TextThreat, Threat
from recgauntlet.core.journal import Journal
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation import security_curve as curve
from recgauntlet.evaluation.security_curve import curve_budgets, security_curve
from recgauntlet.evaluation.setup import Trial
from recgauntlet.threats.knowledge import AttackerKnowledge

RNG = Randomness(0, "test")
THREATS = [embedding_threat(queries=30), headline_threat(40), stuffing_threat(100), history_threat(40)]


@pytest.fixture(scope="module")
def trial() -> Trial:
    data = small_data()
    torch.manual_seed(0)
    return Trial.of(train(ToyRecommender(data.catalog), steps=60), data, AttackerKnowledge(data.catalog))


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


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.id)
def test_what_a_smaller_budget_broke_stays_broken(trial: Trial, threat: Threat) -> None:
    index = torch.arange(0, 40, 2) if threat.goal == "flip" else torch.arange(1, 41, 2)
    points = security_curve(trial, threat, RNG, index)
    bits = [point.robust for point in points]
    assert bits[0].tolist() == trial.right[index].tolist()
    assert all(not (after & ~before).any() for before, after in itertools.pairwise(bits))
    assert bits[-1].sum() < bits[0].sum()


def test_what_each_attack_breaks_is_booked_to_the_very_example(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three attacks that break every fourth example each, of a subset in an order of its own."""
    calls = itertools.count()

    def fake(trial: Trial, attack: object, budget: object, index: torch.Tensor, rng: object) -> SimpleNamespace:
        return SimpleNamespace(broken=index % 4 == next(calls) % 4)

    monkeypatch.setattr(curve, "run_attack", fake)
    monkeypatch.setattr(curve, "attacks_for", lambda threat: (FGM(), FGM(), FGM()))
    index = torch.tensor([30, 3, 17, 2, 8, 11, 5, 40, 21, 6, 7])
    points = security_curve(trial, embedding_threat(), RNG, index)
    assert points[1].robust.tolist() == (trial.right[index] & (index % 4 == 3)).tolist()
    assert points[1].robust.any()


def test_an_interrupted_curve_goes_on_where_it_stopped(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threat, index = embedding_threat(queries=30), torch.arange(20)
    whole = security_curve(trial, threat, RNG, index)
    path = tmp_path / "journal"
    real, calls = curve.run_attack, itertools.count()

    def killed(*arguments: object) -> object:
        if next(calls) == 20:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(curve, "run_attack", killed)
    with pytest.raises(KeyboardInterrupt):
        security_curve(trial, threat, RNG, index, journal=Journal(path))
    done = len(path.read_text().splitlines()) - 1
    assert done >= 2
    counted: list[str] = []

    def counting(*arguments: object) -> object:
        counted.append("run")
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(curve, "run_attack", counting)
    assert security_curve(trial, threat, RNG, index, journal=Journal(path)) == whole
    assert 0 < len(counted) <= len(attacks_for(threat)) * (len(whole) - done)
