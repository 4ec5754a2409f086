"""Rankings under attack: who is pushed which way, and what else may move."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_data import small_data
from torch import Tensor
from toy_recommender import (
    ToyRecommender,
    embedding_threat,
    headline_threat,
    history_threat,
    stuffing_threat,
    train,
)

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.surrogate import SurrogateInputs
from recgauntlet.core.batch import Batch, Candidates, UserState
from recgauntlet.core.card import Threat
from recgauntlet.core.dataset import Impressions, TaskData
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation.ranking import pushers_for, rank_under_attack
from recgauntlet.evaluation.results import CleanResult, RankingResult
from recgauntlet.evaluation.setup import Trial, measure_clean
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.victim import Victim

RNG = Randomness(0, "test")
THREATS = [embedding_threat(queries=30), headline_threat(60), stuffing_threat(100), history_threat(60)]


def long_lists(data: TaskData, size: int = 8) -> Impressions:
    """The impressions of `data` with `size` candidates each, one clicked, at a place that is drawn."""
    rng = np.random.default_rng(0)
    count = len(data.impressions)
    items, labels = [], []
    for clicked in data.test.clicked:
        others = rng.choice(np.setdiff1d(np.arange(len(data.catalog)), [clicked]), size - 1, replace=False)
        place = int(rng.integers(size))
        items += [*others[:place], clicked, *others[place:]]
        labels += [n == place for n in range(size)]
    offsets = np.arange(0, count * size + 1, size)
    return Impressions(data.impressions.users, data.impressions.histories, np.array(items), np.array(labels), offsets)


@pytest.fixture(scope="module")
def data() -> TaskData:
    made = small_data()
    return replace(made, impressions=long_lists(made))


@pytest.fixture(scope="module")
def trial(data: TaskData) -> Trial:
    torch.manual_seed(0)
    return Trial.of(train(ToyRecommender(data.catalog), steps=60), data, AttackerKnowledge(data.catalog))


@pytest.fixture(scope="module")
def clean(trial: Trial, data: TaskData) -> CleanResult:
    return measure_clean(trial, data)


def places(found: RankingResult, data: TaskData) -> np.ndarray:
    return data.impressions.offsets[list(found.impressions)] + np.array(found.targets)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.id)
def test_the_target_is_pushed_the_way_of_the_goal(
    trial: Trial, data: TaskData, clean: CleanResult, threat: Threat
) -> None:
    found = rank_under_attack(trial, data, clean, threat, RNG)
    at = places(found, data)
    promotes = threat.goal == "promote"
    assert (data.impressions.labels[at] != promotes).all()
    change = found.scores[at] - clean.impression_scores[at]
    change = change if promotes else -change
    assert (change >= -1e-3).all()
    assert change.mean() > 0.05


@pytest.mark.parametrize("threat", THREATS[:3], ids=lambda threat: threat.id)
def test_candidates_that_were_not_touched_keep_their_very_scores(
    trial: Trial, data: TaskData, clean: CleanResult, threat: Threat
) -> None:
    found = rank_under_attack(trial, data, clean, threat, RNG)
    after, before = found.scores, clean.impression_scores
    others = np.setdiff1d(np.arange(len(after)), places(found, data))
    assert (after[others] == before[others]).all()


def test_a_changed_history_changes_the_scores_of_all_its_candidates(
    trial: Trial, data: TaskData, clean: CleanResult
) -> None:
    found = rank_under_attack(trial, data, clean, history_threat(60), RNG)
    change = found.scores != clean.impression_scores
    assert change.reshape(-1, 8).mean(axis=1).max() == 1


def test_a_push_goes_past_the_decision_boundary(trial: Trial, data: TaskData, clean: CleanResult) -> None:
    found = rank_under_attack(trial, data, clean, stuffing_threat(100), RNG)
    assert (found.scores[places(found, data)] > 1).mean() > 0.5


class TooFar(Attack):
    name = "too-far"
    surface = "embedding"

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        _, gradient, _ = victim.embedding_gradient(batch)
        return batch.with_delta(gradient * (1 - 2 * batch.labels)[:, None, None] * 1e3)


class Crash(TooFar):
    name = "crash"

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        raise RuntimeError("boom")


@pytest.mark.parametrize("pusher", [TooFar(), Crash()], ids=lambda pusher: pusher.name)
def test_inputs_that_are_refused_leave_the_ranking_as_it_was(
    trial: Trial, data: TaskData, clean: CleanResult, pusher: Attack
) -> None:
    found = rank_under_attack(trial, data, clean, embedding_threat(), RNG, pushers=[pusher])
    assert (found.scores == clean.impression_scores).all()


def twin_of(trial: Trial, directory: Path | None = None) -> SurrogateInputs:
    return SurrogateInputs(trial.victim, ("weights", "data", "suite"), RNG.child("twin"), directory)


class Masked(ToyRecommender):
    """The same scores without a gradient."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return super().score(user, candidates, embeddings).detach()


def test_hidden_gradients_do_not_hide_a_ranking_from_its_twin(trial: Trial, data: TaskData) -> None:
    masked = Masked(data.catalog)
    masked.load_state_dict(trial.model.state_dict())
    hidden = Trial.of(masked.eval(), data, trial.world)
    clean = measure_clean(hidden, data)

    def moved(found: RankingResult) -> float:
        at = places(found, data)
        return float((clean.impression_scores - found.scores)[at].mean())

    threat = embedding_threat(queries=30)
    without = moved(rank_under_attack(hidden, data, clean, threat, RNG))
    helped = moved(rank_under_attack(hidden, data, clean, threat, RNG, twin=twin_of(trial)))
    assert helped > 1.5 * without + 0.1


def test_a_twin_is_searched_once_for_all_its_defenses(
    trial: Trial, data: TaskData, clean: CleanResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threats = [embedding_threat(queries=30), history_threat(60)]
    alone = [rank_under_attack(trial, data, clean, threat, RNG, twin=twin_of(trial)) for threat in threats]
    kept = [rank_under_attack(trial, data, clean, threat, RNG, twin=twin_of(trial, tmp_path)) for threat in threats]
    assert len(list(tmp_path.iterdir())) == len(threats)
    with monkeypatch.context() as patch:
        patch.delattr(SurrogateInputs, "_search")
        again = [rank_under_attack(trial, data, clean, t, RNG, twin=twin_of(trial, tmp_path)) for t in threats]
    for first, second, third in zip(alone, kept, again, strict=True):
        assert (first.scores == second.scores).all()
        assert (first.scores == third.scores).all()
    # other draws, and the attacks on test pairs, have files of their own
    rank_under_attack(trial, data, clean, threats[0], RNG.child("other"), twin=twin_of(trial, tmp_path))
    twin_of(trial, tmp_path).found(pushers_for(threats[0]), Budget.of(threats[0], "standard"))
    assert len(list(tmp_path.iterdir())) == len(threats) + 2


def test_the_same_seed_draws_the_same_targets(trial: Trial, data: TaskData, clean: CleanResult) -> None:
    threat = embedding_threat(queries=30)
    one, again = (rank_under_attack(trial, data, clean, stuffing_threat(100), RNG) for _ in range(2))
    assert one == again
    other = rank_under_attack(trial, data, clean, stuffing_threat(100), Randomness(1, "test"))
    assert other.targets != one.targets
    assert rank_under_attack(trial, data, clean, threat, RNG).impressions == tuple(range(len(data.impressions)))
