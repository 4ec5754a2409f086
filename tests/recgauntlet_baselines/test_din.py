from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from recgauntlet.core.batch import Users
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.types import PAD
from recgauntlet_baselines.models.din import DIN, Dice, category_words


@pytest.fixture
def model(data: TaskData) -> DIN:
    torch.manual_seed(0)
    model = DIN(data.catalog, token_length=16, item_size=6, category_size=4, unit_size=5, hidden=8, narrow=4)
    with torch.no_grad():
        for parameter in (model.unit.middle, model.unit.log_slope):
            parameter.normal_(std=0.3)
    return model.eval()


@torch.no_grad()
def test_the_activation_unit_is_a_network_of_both_items_and_their_product(model: DIN) -> None:
    history, candidate = torch.randn(3, 4, 10), torch.randn(3, 10)
    found = model.activation(history, candidate)
    weight = torch.cat([model.own.weight, model.product.weight, model.candidate.weight], dim=1)
    for b in range(3):
        for j in range(4):
            e, v = history[b, j], candidate[b]
            hidden = model.unit(weight @ torch.cat([e, e * v, v]) + model.candidate.bias)
            torch.testing.assert_close(found[b, j], model.weight(hidden)[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_logit_reads_the_weighed_sum_beside_the_candidate(model: DIN) -> None:
    users = Users(torch.tensor([0]), torch.tensor([[PAD, 3, 8]]))
    candidates = model.candidates(torch.tensor([5]))
    past, candidate = model.vectors(torch.tensor([3, 8])), model.vectors(torch.tensor([5]))
    weights = model.activation(past[None], candidate)[0]
    interest = weights[0] * past[0] + weights[1] * past[1]
    by_hand = model.network(torch.cat([interest, candidate[0]]))
    torch.testing.assert_close(model.score(model.encode_user(users), candidates), by_hand, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_weights_are_not_normalized(model: DIN) -> None:
    """Twice the same history says twice as much."""
    once = model.activation(model.vectors(torch.tensor([[3, 8]])), model.vectors(torch.tensor([5])))
    twice = model.activation(model.vectors(torch.tensor([[3, 8, 3, 8]])), model.vectors(torch.tensor([5])))
    torch.testing.assert_close(twice.sum(), 2 * once.sum())


@torch.no_grad()
def test_every_candidate_weighs_the_history_anew(model: DIN) -> None:
    history = model.vectors(torch.tensor([[3, 8], [3, 8]]))
    first, second = model.activation(history, model.vectors(torch.tensor([5, 6])))
    assert not torch.allclose(first - first[0], second - second[0], atol=1e-4)


def test_dice_with_the_values_of_a_batch_is_the_equation_of_the_paper() -> None:
    torch.manual_seed(0)
    s = torch.randn(50, 3) * 2 + 1
    dice = Dice(3)
    with torch.no_grad():
        dice.middle.copy_(s.mean(dim=0))
        dice.log_slope.copy_(-0.5 * s.var(dim=0, correction=0).log())
        share = torch.sigmoid((s - s.mean(dim=0)) / s.var(dim=0, correction=0).sqrt())
        torch.testing.assert_close(dice(s), share * s + (1 - share) * 0.1 * s)
        dice.middle.zero_()
        dice.log_slope.fill_(12.0)
        torch.testing.assert_close(dice(s), F.prelu(s, torch.full((3,), 0.1)))


def test_a_category_is_the_mean_of_its_words(model: DIN) -> None:
    kind_of, words_of = category_words(["Drama War", "", "War", "Drama War"])
    assert kind_of.tolist() == [1, 0, 2, 1]
    assert words_of.tolist() == [[0, 0], [1, 2], [2, 0]]
    model.kind_of, model.words_of = kind_of, words_of
    with torch.no_grad():
        found = model.vectors(torch.tensor([0, 1, 2]))[:, 6:]
        words = model.words.weight
        torch.testing.assert_close(found, torch.stack([(words[1] + words[2]) / 2, torch.zeros(4), words[2]]))


def test_a_catalog_without_categories_has_empty_ones() -> None:
    kind_of, words_of = category_words(["", ""])
    assert kind_of.tolist() == [0, 0]
    assert words_of.tolist() == [[0]]
