from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import TaskData, TrainingPeriod
from recgauntlet.core.recommender import Origin
from recgauntlet.core.types import PAD
from recgauntlet.testing.tiny import TOKENS, tiny_data, whole
from recgauntlet.training.defense import model_scores
from recgauntlet_baselines.models._collaborative import above_drawn, spectral_items
from recgauntlet_baselines.models.bpr_mf import BPRMF, LENGTH, SPECTRAL, SPREAD

STRANGER = 40


@pytest.fixture(scope="module")
def data() -> TaskData:
    return tiny_data()


@pytest.fixture
def model(data: TaskData) -> BPRMF:
    model = BPRMF.build(Origin(data.catalog, TOKENS, {"size": 4}, TrainingPeriod(data.train, STRANGER + 1)), 0)
    with torch.no_grad():
        model.log_scale.fill_(0.7)
        model.offset.fill_(-0.4)
    return model


@pytest.fixture(scope="module")
def batch(data: TaskData) -> Batch:
    return whole(data.train)


def state_of(model: BPRMF, user: int, history: list[int]) -> torch.Tensor:
    return model.encode_user(Users(torch.tensor([user]), torch.tensor([history]))).tensors[0][0]


def test_items_start_as_singular_vectors_of_the_training_period_and_rows_near_0(data: TaskData) -> None:
    model = BPRMF.build(Origin(data.catalog, TOKENS, {"size": 24}, TrainingPeriod(data.train, STRANGER + 1)), 0)
    items = model.items.weight.detach()
    assert float(items[:, :SPECTRAL].square().sum(dim=1).mean().sqrt()) == pytest.approx(LENGTH, rel=1e-4)
    drawn = torch.cat([items[:, SPECTRAL:].flatten(), model.row_of.weight.detach().flatten()])
    assert float(drawn.std()) == pytest.approx(SPREAD, rel=0.1)
    expected = spectral_items(data.train, (STRANGER + 1, len(data.catalog)), SPECTRAL)
    torch.testing.assert_close(
        items[:, :SPECTRAL] @ items[:, :SPECTRAL].T,
        (expected @ expected.T).float() * LENGTH**2 * len(items) / SPECTRAL,
        rtol=1e-3,
        atol=1e-5,
    )


@torch.no_grad()
def test_a_user_is_the_own_row_and_the_items_taken_over_the_root_of_their_number(model: BPRMF) -> None:
    q, row = model.items.weight, model.row_of.weight[3]
    torch.testing.assert_close(state_of(model, 3, [PAD, 1, 6, 9]), row + (q[1] + q[6] + q[9]) / 3**0.5)
    torch.testing.assert_close(state_of(model, 3, [PAD, PAD]), row)


@torch.no_grad()
def test_a_user_without_training_pairs_does_not_get_a_row_that_was_never_trained(model: BPRMF) -> None:
    assert model.row_of.weight[STRANGER].any()
    torch.testing.assert_close(state_of(model, STRANGER, [PAD, 7]), model.items.weight[7])
    assert not state_of(model, STRANGER, [PAD, PAD]).any()


@torch.no_grad()
def test_the_logit_is_the_dot_product_counted_from_the_users_mean_over_the_catalog(model: BPRMF) -> None:
    user, every = Users(torch.tensor([3]), torch.tensor([[1, 6]])), torch.arange(len(model.catalog))
    logits = model.score(model.encode_user(user).select(torch.zeros_like(every)), model.candidates(every))
    product = model.items.weight @ state_of(model, 3, [1, 6])
    torch.testing.assert_close(logits, 2.71828182**0.7 * (product - product.mean()) - 0.4)


def test_the_loss_is_the_pairwise_one_and_reaches_vectors_through_pairs_alone(model: BPRMF, batch: Batch) -> None:
    vectors = [model.items.weight, model.row_of.weight]
    model.click_loss(model_scores(model, batch), batch).backward()
    found = [weight.grad for weight in vectors]
    rows = model.row_of(batch.users.ids)
    mask = (batch.users.histories != PAD).float().unsqueeze(-1)
    users = rows + (model.items(batch.users.histories.clamp(min=0)) * mask).sum(dim=1) / mask.sum(dim=1).sqrt()
    better, worse = model.items(batch.items[0::2]), model.items(batch.items[1::2])
    by_hand = torch.log1p(torch.exp(-(users * (better - worse)).sum(dim=1))).mean()
    for one, other in zip(found, torch.autograd.grad(by_hand, vectors), strict=True):
        assert one is not None
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_scale_and_offset_learn_the_outcome_alone(model: BPRMF, batch: Batch) -> None:
    scores = model_scores(model, batch)
    calibration = [model.log_scale, model.offset]
    found = torch.autograd.grad(model.click_loss(scores, batch), calibration, retain_graph=True)
    alone = torch.autograd.grad(F.binary_cross_entropy_with_logits(scores, batch.labels), calibration)
    torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-6)


def test_pairs_are_found_by_their_rows_whatever_the_order_and_whatever_is_missing(model: BPRMF, batch: Batch) -> None:
    def pairwise(part: Batch) -> torch.Tensor:
        scores = model_scores(model, part)
        return model.click_loss(scores, part) - F.binary_cross_entropy_with_logits(scores, part.labels)

    order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pairwise(batch.select(order)), pairwise(batch))
    lone = batch.select(torch.tensor([4, 9, 1, 5, 6, 8]))  # pairs 2 and 4 are whole, 0 and 3 have lost one half
    torch.testing.assert_close(pairwise(lone), pairwise(batch.select(torch.tensor([4, 5, 8, 9]))))


def test_without_a_pair_every_example_is_learned_from_by_itself(model: BPRMF, batch: Batch) -> None:
    torn = batch.select(torch.tensor([0, 3, 5, 8]))
    scores = model_scores(model, torn)
    torch.testing.assert_close(
        model.click_loss(scores, torn), F.binary_cross_entropy_with_logits(scores, torn.labels), rtol=0, atol=0
    )
    loss = model.click_loss(scores, torn)
    assert torch.autograd.grad(loss, model.items.weight)[0].any()


@torch.no_grad()
def test_the_penalty_is_the_squared_norm_of_a_pairs_row_and_items(model: BPRMF, batch: Batch) -> None:
    one = batch.select(torch.tensor([2, 3]))
    one = replace(one, users=batch.users.select(torch.tensor([1])), rows=torch.zeros(2, dtype=torch.int64))
    parts = [model.row_of(one.users.ids), *model.items(one.items)]
    model.l2, model.drawn = 0.5, 0
    found = model.auxiliary_loss(one, torch.Generator())
    torch.testing.assert_close(found, 0.5 * sum((part.square().sum() for part in parts), torch.zeros(())))


def test_the_drawn_loss_ranks_the_clicked_item_above_items_that_the_user_does_not_have() -> None:
    """Of three items one is clicked and one is in the history: what is drawn is always compared with the third."""
    table = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
    users = Users(torch.tensor([0]), torch.tensor([[PAD, 1]]))
    labels = torch.tensor([1.0, 0.0])
    batch = Batch(users, torch.zeros(2, dtype=torch.int64), torch.tensor([0, 2]), labels, torch.arange(2))
    vectors = torch.tensor([[0.5, -1.0]])
    margin = torch.tensor(0.5 - 0.5)  # x(item 0) - x(item 2)
    found = above_drawn(vectors, table, batch, 50, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found, -F.logsigmoid(margin))
    nobody = replace(batch, users=Users(users.ids, torch.tensor([[2, 1]])))
    assert float(above_drawn(vectors, table, nobody, 50, torch.Generator().manual_seed(0))) == 0.0
