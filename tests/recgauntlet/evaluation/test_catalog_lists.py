"""Places of clicks among all items that their users never took."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_data import small_data
from toy_recommender import ToyRecommender

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import Taken, TaskData
from recgauntlet.core.scoring import score_batch
from recgauntlet.evaluation.catalog_lists import PAIRS_A_LIST, place_of, rank_catalog


@pytest.fixture(scope="module")
def data() -> TaskData:
    """Impressions with one click each, and users who took their clicks and items 0 to 4."""
    made = small_data()
    shown = made.impressions
    clicks = {user: {0, 1, 2, 3, 4} for user in range(made.user_count)}
    for row, user in enumerate(shown.users.tolist()):
        between = slice(shown.offsets[row], shown.offsets[row + 1])
        clicks[user].update(shown.items[between][shown.labels[between]].tolist())
    items = [sorted(clicks[user]) for user in range(made.user_count)]
    offsets = np.cumsum([0, *map(len, items)])
    return replace(made, taken=Taken(np.concatenate(items).astype(np.int64), offsets))


def test_places_are_those_of_scoring_every_item_by_itself(data: TaskData) -> None:
    torch.manual_seed(0)
    model = ToyRecommender(data.catalog).eval()
    found = rank_catalog(model, data)
    assert found is not None
    assert data.taken is not None
    shown = data.impressions
    assert len(found.above) == -(-len(data.test) // PAIRS_A_LIST) < len(shown)
    for row, (above, tied, others) in enumerate(zip(found.above, found.tied, found.others, strict=True)):
        between = slice(shown.offsets[row], shown.offsets[row + 1])
        (click,) = shown.items[between][shown.labels[between]].tolist()
        rivals = sorted(set(range(len(data.catalog))) - set(data.taken.of(int(shown.users[row])).tolist()) - {click})
        listed = torch.tensor([click, *rivals])
        nothing = torch.zeros(len(listed), dtype=torch.int64)
        users = Users(torch.tensor(shown.users[[row]]), torch.tensor(shown.histories[[row]]))
        scores = score_batch(model, Batch(users, nothing, listed, nothing.float(), nothing))
        assert others == len(rivals)
        assert abs(above - int((scores[1:] > scores[0]).sum())) <= 1  # rounding of other batches
        assert tied <= 1


def test_what_the_user_took_is_no_rival_and_ties_are_counted() -> None:
    scores = np.array([5.0, 2.0, 2.0, 3.0, -np.inf, 2.0])
    assert place_of(1, scores, np.array([0, 1])).tolist() == [1, 2, 4]
    assert place_of(1, scores, np.array([], dtype=np.int64)).tolist() == [2, 2, 5]
    assert place_of(4, scores, np.array([4])).tolist() == [5, 0, 5]


def test_data_of_impressions_have_no_such_lists(data: TaskData) -> None:
    assert rank_catalog(ToyRecommender(data.catalog).eval(), replace(data, taken=None)) is None
