from __future__ import annotations

import math

import pytest
import torch

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.types import PAD
from recgauntlet_baselines.models import bert4rec
from recgauntlet_baselines.models.bert4rec import BERT4Rec


@pytest.fixture
def model(data: TaskData) -> BERT4Rec:
    torch.manual_seed(0)
    model = BERT4Rec(data.catalog, token_length=16, size=16, dropout=0.0).eval()
    with torch.no_grad():
        model.bias.normal_()
        model.log_scale.fill_(0.3)
        model.offset.fill_(-0.2)
    return model


@torch.no_grad()
def test_a_candidate_is_scored_at_a_mask_behind_the_history(model: BERT4Rec) -> None:
    users = Users(torch.tensor([0]), torch.tensor([[PAD, 3, 8]]))
    sequence = torch.stack([*model.items.weight[[3, 8]], model.mask])
    state = model.project(model.transformer(sequence[None], torch.ones(1, 3, dtype=torch.bool)))[0, -1]
    by_hand = (state @ model.items.weight[5] + model.bias[5]) * math.exp(0.3) - 0.2
    found = model.score(model.encode_user(users), model.candidates(torch.tensor([5])))
    torch.testing.assert_close(found, by_hand[None], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_history_is_read_both_ways(model: BERT4Rec) -> None:
    items = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 9]])
    first, second = model.transformer(model.items(items), torch.ones(2, 4, dtype=torch.bool))
    assert (first - second).abs().amax(dim=1).gt(1e-4).all(), "a later item must be seen at every place"


def cloze_by_hand(model: BERT4Rec) -> list[torch.Tensor]:
    """The logits of the whole catalog where 8 is hidden between 3 and 6."""
    sequence = torch.stack([model.items.weight[3], model.mask, model.items.weight[6]])
    states = model.project(model.transformer(sequence[None], torch.ones(1, 3, dtype=torch.bool)))[0]
    return [states[1] @ model.items.weight.T + model.bias]


@torch.no_grad()
def test_a_hidden_item_is_told_from_the_whole_catalog(model: BERT4Rec) -> None:
    histories = torch.tensor([[PAD, 3, 8, 6], [PAD, PAD, 1, 2]])
    hidden = torch.tensor([[False, False, True, False], [False] * 4])
    (logits,) = cloze_by_hand(model)
    found = model.cloze_loss(histories, hidden, None)
    assert found is not None
    torch.testing.assert_close(found, -torch.log_softmax(logits, dim=0)[8], rtol=1e-5, atol=1e-5)
    other = model.cloze_loss(torch.tensor([[PAD, 3, 7, 6]]), hidden[:1], None)
    assert other is not None
    torch.testing.assert_close(other, -torch.log_softmax(logits, dim=0)[7], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_drawn_items_stand_for_the_whole_catalog(model: BERT4Rec) -> None:
    histories = torch.tensor([[PAD, 3, 8, 6]])
    hidden = torch.tensor([[False, False, True, False]])
    count = len(model.catalog)
    (logits,) = cloze_by_hand(model)
    others = torch.cat([logits[:8], logits[9:]]).exp().sum()
    everything = model.cloze_loss(histories, hidden, torch.arange(count))
    assert everything is not None
    torch.testing.assert_close(everything, torch.log(1 + others / logits[8].exp()), rtol=1e-5, atol=1e-5)
    few = model.cloze_loss(histories, hidden, torch.tensor([2, 8, 4]))
    assert few is not None
    weighed = (logits[2].exp() + logits[4].exp()) * count / 3
    torch.testing.assert_close(few, torch.log(1 + weighed / logits[8].exp()), rtol=1e-5, atol=1e-5)


def test_a_share_of_real_items_is_hidden_by_the_generator_alone(
    model: BERT4Rec, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    plain = model.cloze_loss

    def record(histories: torch.Tensor, hidden: torch.Tensor, drawn: torch.Tensor | None) -> torch.Tensor | None:
        seen.append((hidden, drawn))
        return plain(histories, hidden, drawn)

    monkeypatch.setattr(model, "cloze_loss", record)
    model.masked = 0.4
    losses = [model.auxiliary_loss(batch, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(seen[0][0], seen[1][0])
    assert not torch.equal(seen[0][0], seen[2][0])
    assert losses[0] is not None
    assert losses[1] is not None
    assert torch.equal(losses[0], losses[1])
    real = batch.users.histories >= 0
    assert not (seen[0][0] & ~real).any()
    share = torch.stack([hidden for hidden, _ in seen[1:]]).sum() / (2 * real.sum())
    assert 0.2 < float(share) < 0.6
    assert seen[0][1] is None
    monkeypatch.setattr(bert4rec, "LARGEST_SOFTMAX", 7)
    model.auxiliary_loss(batch, torch.Generator().manual_seed(1))
    assert seen[-1][1] is not None
    assert seen[-1][1].shape == (7,)
    assert torch.equal(seen[-1][0], seen[0][0])


def test_the_cloze_loss_is_weighed_and_absent_where_nothing_is_hidden(model: BERT4Rec, batch: Batch) -> None:
    model.cloze = 1.0
    whole = model.auxiliary_loss(batch, torch.Generator().manual_seed(1))
    model.cloze = 0.25
    quarter = model.auxiliary_loss(batch, torch.Generator().manual_seed(1))
    assert whole is not None
    assert quarter is not None
    torch.testing.assert_close(quarter, 0.25 * whole)
    model.masked = 0.0
    assert model.auxiliary_loss(batch, torch.Generator().manual_seed(1)) is None
