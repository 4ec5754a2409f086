"""ItemKNN against sums that are written out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from small_data import small_data

from recgauntlet.core.batch import Users
from recgauntlet.core.dataset import Pairs, TrainingPeriod
from recgauntlet.core.recommender import Origin
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.types import Scalar
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet_baselines.models.item_knn import ItemKNN, nearest


def built(**options: Scalar) -> ItemKNN:
    data = small_data()
    return ItemKNN.build(Origin(data.catalog, 8, options, TrainingPeriod(data.train, data.user_count)), 0)


def similarities(pairs: Pairs, size: int, shrinkage: float) -> list[list[float]]:
    """The shrunk cosines, counted with sets."""
    users: list[set[int]] = [set() for _ in range(size)]
    for user, history, clicked in zip(
        pairs.users.tolist(), pairs.histories.tolist(), pairs.clicked.tolist(), strict=True
    ):
        for item in (*history, clicked):
            if item >= 0:
                users[item].add(user)

    def cosine(first: int, second: int) -> float:
        roots = len(users[first]) ** 0.5 * len(users[second]) ** 0.5
        return 0.0 if first == second else len(users[first] & users[second]) / max(1e-9, roots + shrinkage)

    return [[cosine(first, second) for second in range(size)] for first in range(size)]


@pytest.mark.parametrize(("neighbours", "shrinkage"), [(3, 0.0), (5, 10.0), (40, 2.0)])
def test_an_item_proposes_its_nearest(neighbours: int, shrinkage: float) -> None:
    data = small_data()
    expected = similarities(data.train, len(data.catalog), shrinkage)
    found = nearest(data.train, len(data.catalog), neighbours, shrinkage)
    for row, own in enumerate(expected):
        kept = sorted(own, reverse=True)[:neighbours]
        np.testing.assert_allclose(sorted(found[row], reverse=True)[:neighbours], kept, rtol=1e-5)
        np.testing.assert_allclose(found[row][found[row] > 0], np.array(own)[found[row] > 0], rtol=1e-5)
        assert (found[row] > 0).sum() <= neighbours


def test_a_score_is_the_sum_over_the_history() -> None:
    data, model = small_data(), built(neighbours=4)
    batch = pairs_to_batch(data.test, np.arange(len(data.test)))
    scores = score_batch(model, batch)
    lists = nearest(data.train, len(data.catalog), 4, 10.0)
    for row in range(len(batch)):
        history = [item for item in batch.histories()[row].tolist() if item >= 0]
        total = sum(float(lists[item, batch.items[row]]) for item in history) / max(1, len(history)) ** 0.5
        expected = (total - float(model.center)) / float(model.spread)
        assert float(scores[row]) == pytest.approx(expected, abs=1e-4)


def test_embeddings_that_are_handed_in_give_the_same_scores() -> None:
    data, model = small_data(), built()
    batch = pairs_to_batch(data.test, np.arange(len(data.test)))
    candidates = model.candidates(batch.items)
    with torch.no_grad():
        plain = model.encode_user(batch.users)
        soft = model.encode_user(batch.users, model.embed_history(batch.users))
        embedded = model.embed(candidates)
        found = [
            model.score(state.select(batch.rows), candidates, given)
            for state in (plain, soft)
            for given in (None, embedded)
        ]
    for first, second in pairwise(found):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


def test_a_user_without_history_gets_one_score() -> None:
    model = built()
    users = Users(torch.zeros(1, dtype=torch.int64), torch.full((1, 5), -1))
    state = model.encode_user(users).select(torch.zeros(3, dtype=torch.int64))
    scores = model.score(state, model.candidates(torch.arange(3)))
    assert len(scores.unique()) == 1
    assert torch.isfinite(scores).all()
