"""Promotion: which items, which users, and whether the texts carry over to users that the search did not see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_data import small_data
from torch import Tensor
from toy_recommender import ToyRecommender, stuffing_threat, train

from recgauntlet.core.batch import Candidates, UserState
from recgauntlet.core.dataset import Taken, TaskData
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation import promotion
from recgauntlet.evaluation.catalog_lists import list_count
from recgauntlet.evaluation.promotion import promote
from recgauntlet.evaluation.results import PromotionResult
from recgauntlet.evaluation.setup import Trial
from recgauntlet.threats.knowledge import AttackerKnowledge

RNG = Randomness(0, "test")


@pytest.fixture(scope="module")
def data() -> TaskData:
    return small_data(test=160)


@pytest.fixture(scope="module")
def trial(data: TaskData) -> Trial:
    """Its users all like the sea: one text cannot please those who like four things that have no word in common."""
    torch.manual_seed(0)
    whole = Trial.of(train(ToyRecommender(data.catalog), steps=60), data, AttackerKnowledge(data.catalog))
    sailors = [p for p, item in enumerate(data.test.clicked) if data.catalog.categories[item] == "sea"]
    return replace(whole, batch=replace(whole.batch, users=whole.batch.users.select(torch.tensor(sailors))))


@pytest.fixture(scope="module")
def found(trial: Trial, data: TaskData) -> PromotionResult:
    return promote(trial, data, stuffing_threat(100), RNG)


def test_a_text_found_on_some_users_lifts_its_item_for_others(found: PromotionResult) -> None:
    before, after = found.before, found.after
    assert after.mean() < 0.7 * before.mean()
    assert (after <= 10).mean() > (before <= 10).mean()


def test_ranks_are_among_the_item_and_its_competitors(found: PromotionResult) -> None:
    assert len(found.before) == len(found.after) == len(found.items) * found.users
    for ranks in (found.before, found.after):
        assert ranks.min() >= 1
        assert ranks.max() <= found.competitors + 1


def test_items_come_from_the_less_popular_half_and_compete_with_the_rest(
    found: PromotionResult, data: TaskData
) -> None:
    clicks = np.bincount(data.train.clicked, minlength=len(data.catalog))
    assert len(set(found.items)) == 10
    assert clicks[list(found.items)].max() <= np.median(clicks)
    assert found.competitors == len(data.catalog) - 10


def test_users_are_searched_on_or_measured_on_but_not_both(
    trial: Trial, data: TaskData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[int]] = []
    real = promotion.draw_users

    def spy(*arguments: object) -> object:
        parts = real(*arguments)  # type: ignore[arg-type]
        seen.extend(set(part.ids.tolist()) for part in parts)
        return parts

    monkeypatch.setattr(promotion, "draw_users", spy)
    outcome = promote(trial, data, stuffing_threat(100), RNG)
    searching, held_out = seen
    assert not searching & held_out
    assert (outcome.optimized_on, outcome.users) == (len(searching), len(held_out))
    assert len(searching) / (len(searching) + len(held_out)) == pytest.approx(0.4, abs=0.02)


def test_a_text_that_the_verifier_refuses_promotes_nothing(
    trial: Trial, data: TaskData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotion, "text_fault", lambda *arguments: "refused")
    outcome = promote(trial, data, stuffing_threat(100), RNG)
    assert (outcome.before == outcome.after).all()


def test_the_texts_keep_to_the_budget(trial: Trial, data: TaskData, monkeypatch: pytest.MonkeyPatch) -> None:
    faults: list[str] = []
    real = promotion.text_fault
    monkeypatch.setattr(promotion, "text_fault", lambda *arguments: faults.append(real(*arguments)) or faults[-1])
    promote(trial, data, stuffing_threat(100), RNG)
    assert faults == [""] * 10


@pytest.mark.parametrize("queries", [1, 8, 12])
def test_few_queries_are_enough_to_try_and_never_overdrawn(trial: Trial, data: TaskData, queries: int) -> None:
    threat = stuffing_threat().model_copy(
        update={"queries": stuffing_threat().queries.model_copy(update={"low": 1, "standard": queries})}
    )
    outcome = promote(trial, data, threat, RNG)
    changed = bool((outcome.before != outcome.after).any())
    assert changed == (queries > 1)


def test_the_same_seed_promotes_the_same(trial: Trial, data: TaskData, found: PromotionResult) -> None:
    assert promote(trial, data, stuffing_threat(100), RNG) == found
    assert promote(trial, data, stuffing_threat(100), Randomness(1, "test")).items != found.items


class Masked(ToyRecommender):
    """The same scores without a gradient."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return super().score(user, candidates, embeddings).detach()


def test_hidden_gradients_do_not_hide_a_list_from_its_twin(
    trial: Trial, data: TaskData, found: PromotionResult
) -> None:
    masked = Masked(data.catalog)
    masked.load_state_dict(trial.model.state_dict())
    hidden = replace(Trial.of(masked.eval(), data, trial.world), batch=trial.batch)
    alone = promote(hidden, data, stuffing_threat(100), RNG)
    helped = promote(hidden, data, stuffing_threat(100), RNG, twin=trial.victim)
    assert helped.after.mean() < alone.after.mean() - 1
    assert helped.after.mean() == pytest.approx(found.after.mean(), rel=0.05)


def test_a_single_user_leaves_nothing_to_measure(trial: Trial, data: TaskData) -> None:
    alone = replace(
        trial, batch=replace(trial.batch, users=trial.batch.users.select(torch.zeros(1, dtype=torch.int64)))
    )
    assert promote(alone, data, stuffing_threat(100), RNG).items == ()


def test_ranks_among_all_items_leave_out_what_the_user_took(trial: Trial, data: TaskData) -> None:
    size = len(data.catalog)
    nothing = replace(data, taken=Taken(np.zeros(0, dtype=np.int64), np.zeros(data.user_count + 1, dtype=np.int64)))
    found = promote(trial, nothing, stuffing_threat(100), RNG)
    plain = promote(trial, data, stuffing_threat(100), RNG)
    assert len(plain.catalog_before) == len(plain.catalog_after) == 0
    assert (found.before == plain.before).all()
    # the competitors are all items but the ten that are promoted, so ten at most stand between
    users = list_count(data)
    assert users < found.users
    for among_all, ranks in ((found.catalog_before, found.before), (found.catalog_after, found.after)):
        sampled = ranks.reshape(len(found.items), -1)[:, :users].reshape(-1)
        assert (among_all >= sampled).all()
        assert (among_all <= sampled + len(found.items) - 1).all()
    assert found.catalog_after.mean() < found.catalog_before.mean()
    every = np.tile(np.arange(size), data.user_count)
    all_taken = replace(data, taken=Taken(every, np.arange(data.user_count + 1) * size))
    assert set(promote(trial, all_taken, stuffing_threat(100), RNG).catalog_after.tolist()) == {1.0}
