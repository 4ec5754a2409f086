"""The median of users: how histories are dealt, what the median is, and how few groups an edit touches."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toy_recommender import ToyRecommender, make_batch, make_catalog

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet_baselines.defenses.median_user import MedianOfGroups, MedianUser, group_of, masked_median, packed

GROUPS = 3


@pytest.fixture(scope="module")
def model() -> ToyRecommender:
    torch.manual_seed(0)
    return ToyRecommender(make_catalog(60)).eval()


@pytest.fixture(scope="module")
def batch(model: ToyRecommender) -> Batch:
    return make_batch(model.catalog, users=20, width=12, seed=2)


def scores(model: Recommender, batch: Batch, histories: Tensor | None = None) -> Tensor:
    users = batch.users if histories is None else Users(batch.users.ids, histories)
    with torch.no_grad():
        return model.score(model.encode_user(users).select(batch.rows), model.candidates(batch.items))


def test_the_score_is_the_median_over_groups_of_the_history(model: ToyRecommender, batch: Batch) -> None:
    found = scores(MedianOfGroups(model, GROUPS), batch)
    for u, history in enumerate(batch.users.histories.tolist()):
        items = torch.tensor([[i for i in history if i != PAD]])
        group = group_of(items, GROUPS)
        parts = [items[group == j] for j in range(GROUPS) if (group == j).any()]
        one = batch.select(torch.nonzero(batch.rows == u).flatten())
        states = [model.encode_user(Users(batch.users.ids[:1], part[None])) for part in parts]
        logits = torch.stack(
            [model.score(s.select(torch.zeros(2, dtype=torch.long)), model.candidates(one.items)) for s in states]
        )
        expected = torch.quantile(logits.detach(), 0.5, dim=0)  # the mean of the middle two
        torch.testing.assert_close(found[batch.rows == u], expected)


def test_one_group_is_the_model_inside(model: ToyRecommender, batch: Batch) -> None:
    torch.testing.assert_close(scores(MedianOfGroups(model, 1), batch), scores(model, batch))


def test_the_median_leaves_out_what_does_not_vote() -> None:
    values = torch.tensor([[5.0, 1.0, 9.0, -7.0], [5.0, 1.0, 9.0, -7.0], [5.0, 1.0, 9.0, -7.0]])
    mask = torch.tensor([[True, True, True, False], [True, True, False, False], [False, False, False, True]])
    assert masked_median(values, mask).tolist() == [5.0, 3.0, -7.0]


def test_an_inserted_or_deleted_item_touches_one_group() -> None:
    history = torch.tensor([[PAD, 3, 17, 8, 42, 5, 11]])
    group = group_of(history, GROUPS)[0].tolist()
    longer, shorter = torch.tensor([[3, 17, 8, 42, 29, 5, 11]]), torch.tensor([[PAD, PAD, 3, 17, 42, 5, 11]])
    assert group_of(longer, GROUPS)[0].tolist() == [
        *group[1:5],
        int(group_of(torch.tensor([[29]]), GROUPS)),
        *group[5:],
    ]
    assert group_of(shorter, GROUPS)[0].tolist() == [-1, -1, *group[1:3], *group[4:]]


def test_a_large_catalog_is_dealt_evenly() -> None:
    for salt in (0, 5):
        counts = torch.bincount(group_of(torch.arange(5000)[None], 5, salt)[0], minlength=5)
        assert (counts - 1000).abs().max() < 150
    assert not torch.equal(group_of(torch.arange(99)[None], 5, 0), group_of(torch.arange(99)[None], 5, 1))


def test_one_touched_group_of_many_cannot_decide(model: ToyRecommender, batch: Batch) -> None:
    """Whatever stands in one group, the logit stays between logits of the others."""
    served = MedianOfGroups(model, GROUPS)
    group = group_of(batch.users.histories, GROUPS)
    same = torch.arange(60)[group_of(torch.arange(60)[None], GROUPS)[0] == 1]
    full = torch.stack([(group == j).any(dim=1) for j in range(GROUPS)], dim=1).all(dim=1)
    assert full.any()
    outcomes = []
    for seed in range(20):
        drawn = same[torch.randint(len(same), group.shape, generator=torch.Generator().manual_seed(seed))]
        outcomes.append(scores(served, batch, torch.where(group == 1, drawn, batch.users.histories)))
    others = []
    for j in (0, 2):
        order, kept = packed(group == j)
        others.append(scores(model, batch, batch.users.histories.gather(1, order).masked_fill(~kept, PAD)))
    low, high = torch.stack(others).amin(dim=0), torch.stack(others).amax(dim=0)
    rows = full[batch.rows]
    for outcome in outcomes:
        assert (outcome[rows] >= low[rows] - 1e-5).all()
        assert (outcome[rows] <= high[rows] + 1e-5).all()


def test_gradients_reach_the_history_through_the_handle(model: ToyRecommender, batch: Batch) -> None:
    served = MedianOfGroups(model, GROUPS)
    embedded = served.embed_history(batch.users).detach().requires_grad_(True)
    state = served.encode_user(batch.users, embedded)
    logits = served.score(state.select(batch.rows), served.candidates(batch.items))
    torch.testing.assert_close(logits.detach(), scores(served, batch))
    (gradient,) = torch.autograd.grad(logits.sum(), embedded)
    assert (gradient[batch.users.histories != PAD].abs().sum(dim=1) > 0).any()
    assert (gradient[batch.users.histories == PAD] == 0).all()


def test_a_user_without_a_history_gets_the_logit_of_the_model_inside(model: ToyRecommender, batch: Batch) -> None:
    empty = torch.full_like(batch.users.histories, PAD)
    torch.testing.assert_close(scores(MedianOfGroups(model, GROUPS), batch, empty), scores(model, batch, empty))


def test_training_shows_one_group_of_each_history(batch: Batch) -> None:
    defense = MedianUser(groups=GROUPS)
    seen = set()
    for step in range(12):
        shown = defense.one_group(batch.users, TrainingContext(step, 0.5, Randomness(0, "test"))).histories
        for before, after in zip(batch.users.histories.tolist(), shown.tolist(), strict=True):
            items = [item for item in after if item != PAD]
            assert after == [PAD] * (len(after) - len(items)) + items
            rest = iter(before)
            assert all(item in rest for item in items), "the order is kept"
            assert items or all(item == PAD for item in before)
        seen.add(tuple(shown[0].tolist()))
        size = (shown != PAD).sum() / (batch.users.histories != PAD).sum()
        assert 0.25 < size < 0.65
    assert len(seen) > 3


def test_without_grouped_training_the_loss_is_the_plain_one(model: ToyRecommender, batch: Batch) -> None:
    context = TrainingContext(0, 0.5, Randomness(0, "test"))
    plain = Defense().training_loss(model, batch, context)
    assert torch.equal(MedianUser(grouped_training=False).training_loss(model, batch, context), plain)
    assert not torch.equal(MedianUser(grouped_training=True).training_loss(model, batch, context), plain)
