"""Groups of test pairs, made of the training pairs alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_data import small_data
from toy_recommender import ToyRecommender

from recgauntlet.core.batch import Users
from recgauntlet.core.dataset import Pairs, Taken, TaskData
from recgauntlet.core.types import PAD
from recgauntlet.evaluation.catalog_lists import catalog_scores, rank_catalog
from recgauntlet.evaluation.groups import groups_of, popularity_groups, training_interactions
from recgauntlet.evaluation.results import CleanResult


def pairs(users: list[int], histories: list[list[int]], clicked: list[int]) -> Pairs:
    """Pairs whose unclicked candidate is item 9, which nobody took."""
    return Pairs(*(np.array(part) for part in (users, histories, clicked, [9] * len(users))))


@pytest.fixture
def data() -> TaskData:
    """User 0 took items 0 to 3 in training, user 1 items 0 and 1, user 2 nothing."""
    train = pairs([0, 0, 1, 1], [[0, 1], [1, 2], [PAD, 0], [PAD, 0]], [2, 3, 1, 1])
    test = pairs([0, 1, 2, 2], [[2, 3], [0, 1], [PAD, 4], [4, 5]], [0, 4, 3, 1])
    return replace(small_data(), user_count=3, train=train, test=test)


def test_interactions_of_training_are_clicks_and_histories_each_once(data: TaskData) -> None:
    users, items = training_interactions(data)
    assert list(zip(users.tolist(), items.tolist(), strict=True)) == [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]


def test_groups_of_pairs_are_those_counted_by_hand(data: TaskData) -> None:
    activity, history, popularity = groups_of(data, result(4))
    assert [(one.least, one.most) for one in activity.groups] == [(0, 0), (2, 2), (4, 4)]
    assert activity.pairs.to_int().tolist() == [2, 1, 0, 0]
    assert [(one.least, one.most) for one in history.groups] == [(1, 1), (2, 2)]
    assert history.pairs.to_int().tolist() == [1, 1, 0, 1]
    # 36 of the 40 items have no user, items 2 and 3 one, items 0 and 1 two
    bounds, of_items = popularity_groups(data)
    assert bounds == ((0, 0), (1, 2))
    assert of_items.tolist() == [1] * 4 + [0] * 36
    assert popularity.pairs.to_int().tolist() == [1, 0, 1, 1]
    assert popularity.exposed is None


def test_bounds_are_those_of_all_pairs_where_the_first_alone_are_attacked(data: TaskData) -> None:
    whole, first = groups_of(data, result(4)), groups_of(data, result(2))
    for one, other in zip(whole, first, strict=True):
        assert one.groups == other.groups
        assert other.pairs.to_int().tolist() == one.pairs.to_int().tolist()[:2]


def result(count: int) -> CleanResult:
    """Clean results of so many pairs."""
    labels = np.tile([True, False], count)
    scores = np.ones(2 * count, dtype=np.float32)
    return CleanResult(
        labels=labels,
        scores=scores,
        impression_sizes=(2,) * count,
        impression_users=(0,) * count,
        impression_labels=labels,
        impression_scores=scores,
    )


def test_exposure_counts_the_first_places_of_lists_of_all_items() -> None:
    made = small_data()
    nothing = Taken(np.zeros(0, dtype=np.int64), np.zeros(made.user_count + 1, dtype=np.int64))
    made = replace(made, taken=nothing)
    torch.manual_seed(0)
    bounds, of_items = popularity_groups(made)
    model = ToyRecommender(made.catalog).eval()
    found = rank_catalog(model, made)
    assert found is not None
    exposed = found.exposed.reshape(len(found.above), len(bounds))
    assert exposed.sum(axis=1) == pytest.approx(np.full(len(found.above), 10.0), abs=1e-4)

    users = Users(torch.tensor(made.impressions.users[:1]), torch.tensor(made.impressions.histories[:1]))
    (scores,) = catalog_scores(model, users, len(made.catalog))
    first = np.bincount(of_items[np.argsort(-scores)[:10]], minlength=len(bounds))
    assert exposed[0] == pytest.approx(first)
    assert not first.all() or len(set(first.tolist())) > 1
