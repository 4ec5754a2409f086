from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy_recommender import make_batch

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.types import PAD
from recgauntlet_baselines.models.naml import NAML


def make(data: TaskData) -> NAML:
    torch.manual_seed(0)
    return NAML(data.catalog, token_length=16, word_size=16, filters=12, category_size=6, attention_size=8).eval()


@pytest.fixture(scope="module")
def model(data: TaskData) -> NAML:
    return make(data)


@pytest.fixture(scope="module")
def batch(data: TaskData) -> Batch:
    return make_batch(data.catalog, users=40, seed=7)


@torch.no_grad()
def test_an_item_is_its_two_views_weighed_as_the_paper_says(model: NAML) -> None:
    item = 5
    words = model.words(model.catalog_tokens().select(torch.tensor([item])).ids)[0]
    weight, bias = model.convolution.weight, model.convolution.bias
    assert bias is not None
    padded = torch.cat([torch.zeros(1, 16), words, torch.zeros(1, 16)])
    read = torch.stack(
        [
            torch.relu(bias + sum(weight[:, :, near] @ padded[place + near] for near in range(3)))
            for place in range(len(words))
        ]
    )

    def attend(vectors: torch.Tensor, pool: torch.nn.Module) -> torch.Tensor:
        weights = torch.softmax(torch.tanh(vectors @ pool.key.weight.T + pool.key.bias) @ pool.query.weight[0], dim=0)
        return weights @ vectors

    title = attend(read, model.title_pool)
    place = sorted(set(model.catalog.categories)).index(model.catalog.categories[item])
    category = torch.relu(model.category_view(model.categories.weight[place]))
    expected = attend(torch.stack([title, category]), model.view_pool)
    users = Users(torch.tensor([0]), torch.tensor([[PAD, item]]))
    found = model.embed_history(users)
    torch.testing.assert_close(found[0, 1], expected)
    assert not found[0, 0].any()
    torch.testing.assert_close(model.encode_user(users).tensors[0][0], expected)


@torch.no_grad()
def test_a_category_is_read_and_no_edit_of_the_text_reaches_it(data: TaskData, model: NAML, batch: Batch) -> None:
    state = model.encode_user(batch.users)
    tokens = model.tokenize(["boat"])
    first = model.candidates(torch.tensor([0]), ["boat"])
    kind = data.catalog.categories
    same = next(i for i in range(1, len(kind)) if kind[i] == kind[0])
    other = next(i for i in range(1, len(kind)) if kind[i] != kind[0])
    one = state.select(torch.tensor([0]))
    score = model.score(one, first)
    assert torch.equal(score, model.score(one, replace(first, items=torch.tensor([same]))))
    assert not torch.allclose(score, model.score(one, replace(first, items=torch.tensor([other]))))
    assert tokens.mask.sum() == 1


@torch.no_grad()
def test_order_counts_in_a_title_and_not_in_a_history(model: NAML) -> None:
    users = Users(torch.tensor([0, 1]), torch.tensor([[PAD, 1, 6, 9], [9, PAD, 6, 1]]))
    first, second = model.encode_user(users).tensors[0]
    torch.testing.assert_close(first, second)
    candidates = model.candidates(torch.tensor([0, 0]), ["boat ship harbor", "ship boat harbor"])
    scores = model.score(model.encode_user(users).select(torch.tensor([0, 0])), candidates)
    assert abs(float(scores[0] - scores[1])) > 1e-5


def test_the_rows_of_categories_are_made_anew_and_not_saved(model: NAML, data: TaskData) -> None:
    assert "category_of" not in model.state_dict()
    assert len(model.get_buffer("category_of")) == len(data.catalog)
