from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy_recommender import make_batch

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.types import PAD
from recgauntlet.training.defense import model_scores
from recgauntlet_baselines.models._sequence import Transformer, read_width
from recgauntlet_baselines.models.sasrec import SASRec


@pytest.fixture(scope="module")
def model(data: TaskData) -> SASRec:
    torch.manual_seed(0)
    return SASRec(data.catalog, token_length=16, size=16, heads=2, length=12).eval()


@pytest.fixture(scope="module")
def batch(data: TaskData) -> Batch:
    return make_batch(data.catalog, users=20, seed=7)


def states_of(model: SASRec, histories: Tensor) -> Tensor:
    """`[U, H, D]`: what every place of the histories says."""
    users = Users(torch.arange(len(histories)), histories)
    states: Tensor = model.transformer(model.embed_history(users), histories >= 0)
    return states


@torch.no_grad()
def test_a_later_item_changes_no_earlier_place(model: SASRec) -> None:
    first, second = states_of(model, torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 9, 5]]))
    torch.testing.assert_close(first[:3], second[:3], rtol=0.0, atol=1e-6)
    assert (first[3:] - second[3:]).abs().amax(dim=1).gt(1e-3).all(), "its own place and later ones must change"


@torch.no_grad()
def test_a_transformer_that_is_not_causal_shows_a_later_item_to_all_places() -> None:
    torch.manual_seed(0)
    both_ways = Transformer(8, heads=1, blocks=1, inner=8, length=5, causal=False, dropout=0.0)
    x = torch.randn(1, 5, 8)
    other = x.clone()
    other[0, 4] *= -1.0
    mask = torch.ones(1, 5, dtype=torch.bool)
    assert (both_ways(x, mask) - both_ways(other, mask)).abs().amax(dim=2).gt(1e-4).all()


@torch.no_grad()
@pytest.mark.parametrize("causal", [True, False])
def test_the_newest_place_alone_is_the_newest_of_all_places(causal: bool) -> None:
    torch.manual_seed(0)
    blocks = Transformer(8, heads=2, blocks=2, inner=8, length=6, causal=causal, dropout=0.0)
    x, mask = torch.randn(3, 6, 8), torch.arange(6).expand(3, 6) >= torch.tensor([[0], [2], [5]])
    torch.testing.assert_close(blocks(x, mask, newest_only=True), blocks(x, mask)[:, -1:], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_one_block_is_the_equations_of_the_paper() -> None:
    torch.manual_seed(0)
    stack = Transformer(4, heads=1, blocks=1, inner=4, length=3, causal=True, dropout=0.0)
    (block,) = stack.blocks
    x = torch.randn(3, 4)
    placed = x + stack.positions
    normed = block.attention_norm(placed)
    query, (key, value) = block.query(normed), block.key_value(normed).chunk(2, dim=-1)
    rows = []
    for place in range(3):
        weight = torch.softmax(key[: place + 1] @ query[place] / 4**0.5, dim=0)
        rows.append(placed[place] + block.out(weight @ value[: place + 1]))
    attended = torch.stack(rows)
    by_hand = stack.norm(attended + block.narrow(F.gelu(block.widen(block.inner_norm(attended)))))
    found = stack(x[None], torch.ones(1, 3, dtype=torch.bool))[0]
    torch.testing.assert_close(found, by_hand, rtol=1e-5, atol=1e-6)


def test_places_are_counted_from_the_newest_and_old_items_are_not_read(model: SASRec) -> None:
    newest = torch.arange(1, 13)
    longer = torch.cat([torch.tensor([30, 31]), newest])  # two more than `length`
    users = [Users(torch.zeros(1, dtype=torch.int64), row[None]) for row in (newest, longer)]
    with torch.no_grad():
        first, second = (model.encode_user(one).tensors[0] for one in users)
        assert torch.equal(first, second)
        swapped = model.encode_user(Users(users[0].ids, newest[None].flip(1))).tensors[0]
    assert not torch.allclose(first, swapped, atol=1e-3), "the order of the history counts"


def test_what_holds_all_real_places_is_read() -> None:
    mask = torch.tensor([[False, False, True, True], [False, True, False, True]])
    assert read_width(mask, 10) == 3
    assert read_width(mask, 2) == 2
    assert read_width(torch.zeros(2, 4, dtype=torch.bool), 10) == 1


def test_the_loss_at_every_place_is_that_of_the_paper(model: SASRec) -> None:
    histories = torch.tensor([[PAD, 4, 7, 2], [PAD, PAD, PAD, 5]])
    drawn = torch.tensor([[1, 9, 7], [1, 2, 3]])  # 7 is in the first history: left out
    found = model.next_item_loss(histories, drawn)
    states = states_of(model, histories[:1, :3])[0]  # places of 4 and of 7, the last two
    table = model.items.weight
    taken = [(states[-2], 7), (states[-1], 2)]
    other = [(states[-2], 9)]
    terms = [-F.logsigmoid(state @ table[item] + model.offset) for state, item in taken]
    terms += [-F.logsigmoid(-(state @ table[item] + model.offset)) for state, item in other]
    assert found is not None
    torch.testing.assert_close(found, torch.stack(terms).mean(), rtol=1e-5, atol=1e-6)


def test_the_auxiliary_loss_is_weighed_and_drawn_from_its_generator(data: TaskData, batch: Batch) -> None:
    torch.manual_seed(0)
    model = SASRec(data.catalog, token_length=16, size=8, next_item=0.5, dropout=0.0)
    first, again, other = (model.auxiliary_loss(batch, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    drawn = torch.randint(len(data.catalog), (20, 7), generator=torch.Generator().manual_seed(1))
    model.next_item = 1.0
    whole = model.next_item_loss(batch.users.histories, drawn)
    assert whole is not None
    torch.testing.assert_close(first, 0.5 * whole)
    model.next_item = 0.0
    assert model.auxiliary_loss(batch, torch.Generator()) is None


def test_histories_of_one_item_have_no_next_item(model: SASRec) -> None:
    assert model.next_item_loss(torch.tensor([[PAD, PAD, 3], [PAD, PAD, PAD]]), torch.tensor([[1, 2], [1, 2]])) is None


def test_a_candidate_is_a_dot_product_with_the_newest_place(model: SASRec, batch: Batch) -> None:
    with torch.no_grad():
        newest = states_of(model, batch.users.histories)[:, -1]
        by_hand = (newest[batch.rows] * model.items.weight[batch.items]).sum(dim=1) + model.offset
        torch.testing.assert_close(model_scores(model, batch), by_hand, rtol=1e-5, atol=1e-5)


def test_a_user_without_history_has_no_taste(model: SASRec) -> None:
    users = Users(torch.tensor([0]), torch.full((1, 4), PAD))
    assert not model.encode_user(users).tensors[0].any()
