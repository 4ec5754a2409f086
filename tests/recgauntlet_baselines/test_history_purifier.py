"""The history purifier: what it leaves out, and that the rest passes as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_recommender import ToyRecommender, make_batch, make_catalog

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import Pairs, TrainingPeriod
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import Origin, Recommender
from recgauntlet.core.types import PAD
from recgauntlet_baselines.defenses.history_purifier import HistoryPurifier, Purified, company

ITEMS, GROUPS, WIDTH = 60, 4, 10


def pairs(seed: int = 0, users: int = 400) -> Pairs:
    """Users who take items of one group of the catalog, now and then another; the last item is taken by nobody."""
    generator = np.random.default_rng(seed)
    histories = []
    for user in range(users):
        own = np.arange(user % GROUPS, ITEMS - 1, GROUPS)
        taken = generator.choice(own, size=WIDTH, replace=False)
        taken[generator.random(WIDTH) < 0.05] = generator.integers(0, ITEMS - 1)
        histories.append(taken)
    table = np.array(histories)
    return Pairs(np.arange(users), table[:, 1:], table[:, 0], generator.integers(0, ITEMS - 1, size=users))


@pytest.fixture(scope="module")
def model() -> Recommender:
    origin = Origin(make_catalog(ITEMS), 16, {}, TrainingPeriod(pairs(), 400))
    return ToyRecommender.build(origin, 0).eval()


@pytest.fixture(scope="module")
def batch(model: Recommender) -> Batch:
    return make_batch(model.catalog, users=20, width=12, seed=2)


def purified(model: Recommender, share: float) -> Purified:
    served = HistoryPurifier(share=share).wrap(model)
    assert isinstance(served, Purified)
    return served


def scores(model: Recommender, batch: Batch, embeddings: Tensor | None = None) -> Tensor:
    state = model.encode_user(batch.users, embeddings)
    return model.score(state.select(batch.rows), model.candidates(batch.items))


def test_a_planted_item_is_left_out_and_the_others_stay_in_order(model: Recommender) -> None:
    served, found = purified(model, share=0.1), 0
    for seed in range(20):
        own = np.random.default_rng(seed).permutation(np.arange(seed % GROUPS, ITEMS - 1, GROUPS))[:WIDTH]
        planted, place = (int(own[0]) + 1) % (ITEMS - 1), seed % WIDTH
        history = own.tolist()
        history[place] = planted
        kept = served.kept(torch.tensor([[PAD, PAD, *history]]))[0, 2:]
        assert int((~kept).sum()) == 1
        found += int(not kept[place])
    assert found >= 18


def test_the_share_is_of_each_history_and_rounded_down(model: Recommender) -> None:
    lengths = [0, 3, 4, 9, 10]
    histories = torch.tensor([[PAD] * (10 - n) + list(range(0, 4 * n, 4)) for n in lengths])
    kept = purified(model, share=0.3).kept(histories)
    assert kept.sum(dim=1).tolist() == [0, 3, 3, 7, 7]
    assert not kept[histories == PAD].any()


def test_support_is_the_sum_of_cosines_over_training_users() -> None:
    few = Pairs(
        np.array([0, 1, 2, 2]),
        np.array([[PAD, 0], [0, 1], [PAD, 2], [PAD, 2]]),
        np.array([1, 2, 1, 1]),
        np.array([3, 3, 3, 3]),
    )
    row_of, cosines = company(few, 5)
    assert row_of.tolist() == [1, 2, 3, 0, 0]
    expected = [[0, 2 / 6**0.5, 1 / 2], [2 / 6**0.5, 0, 2 / 6**0.5], [1 / 2, 2 / 6**0.5, 0]]
    torch.testing.assert_close(cosines[1:, 1:], torch.tensor(expected))
    assert not cosines[0].any()


def test_an_item_without_training_users_has_no_support(model: Recommender) -> None:
    history = torch.tensor([[*range(0, 36, 4), ITEMS - 1]])
    assert purified(model, share=0.1).kept(history).tolist() == [[True] * 9 + [False]]


def test_without_a_share_it_is_the_model_inside(model: Recommender, batch: Batch) -> None:
    torch.testing.assert_close(scores(purified(model, share=0.0), batch), scores(model, batch))


def test_the_model_sees_the_history_without_what_is_left_out(model: Recommender, batch: Batch) -> None:
    served = purified(model, share=0.3)
    kept = served.kept(batch.users.histories)
    shorter = [row[keep].tolist() for row, keep in zip(batch.users.histories, kept, strict=True)]
    width = batch.users.histories.shape[1]
    histories = torch.tensor([[PAD] * (width - len(row)) + row for row in shorter])
    users = Users(batch.users.ids, histories)
    state = model.encode_user(users)
    expected = model.score(state.select(batch.rows), model.candidates(batch.items))
    torch.testing.assert_close(scores(served, batch), expected)
    torch.testing.assert_close(scores(served, batch, served.embed_history(batch.users)), expected)


def test_gradients_of_what_stays_are_those_of_the_model_inside(model: Recommender, batch: Batch) -> None:
    served = purified(model, share=0.3)
    kept = served.kept(batch.users.histories)
    handle = served.embed_history(batch.users).detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(scores(served, batch, handle).sum(), handle)
    assert (gradient[kept].abs().sum(dim=1) > 0).all()
    assert not gradient[~kept].any()
    # a small step along it does what it promises
    step = 1e-3 * gradient / gradient.norm()
    with torch.no_grad():
        risen = (
            scores(served, batch, handle + step).double().sum() - scores(served, batch, handle - step).double().sum()
        )
    assert float(risen) / 2 == pytest.approx(1e-3 * float(gradient.norm()), rel=0.05)


def test_models_without_histories_or_training_data(batch: Batch) -> None:
    built_alone = ToyRecommender(make_catalog(ITEMS))
    with pytest.raises(PluginError, match="training data is not known"):
        HistoryPurifier().wrap(built_alone)

    class TextOnly(ToyRecommender):
        surfaces = frozenset({"candidate-text", "embedding"})

    text_only = TextOnly(make_catalog(ITEMS))
    assert HistoryPurifier().wrap(text_only) is text_only
