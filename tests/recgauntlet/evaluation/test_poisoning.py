"""Exposure, win rate and pairs, against values that are known in closed form or counted one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from poison_task import make_store
from torch import Tensor

from recgauntlet.attacks.poisoning.profiles import RandomProfiles
from recgauntlet.attacks.poisoning.tables import PoisonStore
from recgauntlet.core.batch import Candidates, Tokens, Users, UserState
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender, TrainingRecipe
from recgauntlet.data.poisoned import with_accounts
from recgauntlet.evaluation.poisoning import (
    Audience,
    PairOutcomes,
    measure_exposure,
    measure_pairs,
    measure_poisoning,
    never_taken,
)


class Table(Recommender):
    """Scores `table[user, item]`."""

    surfaces = frozenset()
    recipe = TrainingRecipe(epochs=1, batch_size=8, learning_rate=1e-2)

    def __init__(self, data: TaskData, table: Tensor) -> None:
        super().__init__(data.catalog, token_length=4)
        self.table = torch.nn.Parameter(table)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        one = torch.zeros(len(texts), 1, dtype=torch.int64)
        return Tokens(one, one == 0, one)

    def embed(self, candidates: Candidates) -> Tensor:
        return torch.zeros(len(candidates), 1, 1)

    def embed_history(self, users: Users) -> Tensor:
        return torch.zeros(len(users), users.histories.shape[1], 1)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        return UserState((self.table[users.ids],))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return user.tensors[0].gather(1, candidates.items.unsqueeze(1)).squeeze(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[PoisonStore, TaskData, Audience]:
    store, data = make_store(tmp_path_factory.mktemp("poison"))
    return store, data, Audience.of(data, store.genuine, store.verifier.targets)


def scores(data: TaskData, seed: int = 0, levels: int = 6) -> Tensor:
    """Scores with many ties."""
    draw = torch.randint(
        -3, levels - 3, (data.user_count, len(data.catalog)), generator=torch.Generator().manual_seed(seed)
    )
    return draw.float()


def test_the_audience_is_every_test_user_once_with_what_was_taken_before(
    made: tuple[PoisonStore, TaskData, Audience],
) -> None:
    store, data, audience = made
    takes = store.genuine.takes
    assert sorted(set(data.test.users.tolist())) == data.test.users[audience.rows].tolist()
    for place, row in enumerate(audience.rows.tolist()):
        user, clicked = data.test.users[row], data.test.clicked[row]
        (moment,) = takes.times[(takes.users == user) & (takes.items == clicked)]
        own = data.test.users == user
        others = [takes.times[(takes.users == user) & (takes.items == item)][0] for item in data.test.clicked[own]]
        assert moment == min(others)
        before = set(takes.items[(takes.users == user) & (takes.times < moment)].tolist())
        assert set(np.flatnonzero(audience.taken[place]).tolist()) == before
        assert {item for item in data.test.histories[row].tolist() if item >= 0} <= before
        ever = set(takes.items[takes.users == user].tolist())
        assert audience.eligible[place].tolist() == [item not in ever for item in audience.targets.tolist()]


def test_exposure_is_what_counting_gives(made: tuple[PoisonStore, TaskData, Audience]) -> None:
    _, data, audience = made
    table = scores(data)
    found = measure_exposure(Table(data, table), data, audience)
    for place, row in enumerate(audience.rows.tolist()):
        own = table[data.test.users[row]].numpy()
        open_ = np.flatnonzero(~audience.taken[place])
        for column, target in enumerate(audience.targets.tolist()):
            if not audience.eligible[place, column]:
                assert np.isnan(found.in_top(10)[place, column])
                assert np.isnan(found.win_rate()[place, column])
                continue
            rivals = own[[item for item in open_ if item != target]]
            wins = (rivals < own[target]).sum() + (rivals == own[target]).sum() / 2
            assert found.win_rate()[place, column] == pytest.approx(wins / len(rivals))
            above, tied = int((rivals > own[target]).sum()), int((rivals == own[target]).sum())
            inside = [above + before < 10 for before in range(tied + 1)]  # the target behind 0 to `tied` of the tied
            assert found.in_top(10)[place, column] == pytest.approx(np.mean(inside))


def test_a_constant_model_exposes_every_target_by_chance(made: tuple[PoisonStore, TaskData, Audience]) -> None:
    _, data, audience = made
    found = measure_exposure(Table(data, torch.zeros(data.user_count, len(data.catalog))), data, audience)
    open_ = (~audience.taken).sum(axis=1)
    assert np.nanmax(np.abs(found.win_rate() - 0.5)) == 0
    expected = np.where(audience.eligible, (10 / open_)[:, None], np.nan)
    np.testing.assert_allclose(found.in_top(10), expected)


def test_a_model_that_puts_the_targets_first_exposes_all_of_them(made: tuple[PoisonStore, TaskData, Audience]) -> None:
    _, data, audience = made
    table = torch.zeros(data.user_count, len(data.catalog))
    table[:, audience.targets] = torch.tensor([4.0, 3.0, 2.0, 1.0])
    found = measure_exposure(Table(data, table), data, audience)
    assert np.nanmin(found.in_top(10)) == 1
    assert np.nanmin(found.win_rate()[:, 0]) == 1


def test_a_score_that_is_no_number_counts_against_the_model(made: tuple[PoisonStore, TaskData, Audience]) -> None:
    _, data, audience = made
    found = measure_exposure(Table(data, torch.full((data.user_count, len(data.catalog)), torch.nan)), data, audience)
    assert np.nanmin(found.in_top(1)) == 1
    pairs = measure_pairs(
        Table(data, torch.full((data.user_count, len(data.catalog)), torch.nan)),
        data,
        audience.targets,
        np.ones((len(data.test), len(audience.targets)), dtype=np.bool_),
    )
    assert pairs.accuracy() == 0


def test_numbering_users_anew_changes_no_measure(made: tuple[PoisonStore, TaskData, Audience]) -> None:
    store, data, audience = made
    table = scores(data)
    fakes = store.tables(RandomProfiles())["high"].accounts
    poisoned = with_accounts(data, store.genuine, fakes, store.card.track("standard"))
    moved = torch.zeros(poisoned.data.user_count, len(data.catalog))
    moved[torch.from_numpy(poisoned.genuine)] = table
    eligible = never_taken(data.test.users, store.genuine, store.verifier.targets)
    before = measure_poisoning(Table(data, table), data, audience, eligible)
    after = measure_poisoning(Table(data, moved), poisoned.data, audience, eligible)
    assert np.array_equal(before.exposure.above, after.exposure.above)
    assert np.array_equal(before.pairs.targets, after.pairs.targets)
    assert (before.accuracy, before.ndcg10) == (after.accuracy, after.ndcg10)


class Noisy(Table):
    """Adds a quarter to all scores of one pass, and takes a quarter away in the next."""

    noise = 0.25

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        self.noise = -self.noise
        drift = self.noise * (1 + candidates.items % 2)  # by the item, so that it changes the order
        return super().score(user, candidates, embeddings) + drift


def test_a_random_model_is_measured_by_its_mean_scores(made: tuple[PoisonStore, TaskData, Audience]) -> None:
    store, data, audience = made
    table = scores(data)
    eligible = never_taken(data.test.users, store.genuine, store.verifier.targets)
    plain = measure_poisoning(Table(data, table), data, audience, eligible)
    noisy = measure_poisoning(Noisy(data, table), data, audience, eligible)
    for name in ("above", "tied"):
        assert np.array_equal(getattr(plain.exposure, name), getattr(noisy.exposure, name))
    assert np.array_equal(plain.pairs.targets, noisy.pairs.targets)
    assert (plain.accuracy, plain.ndcg10) == (noisy.accuracy, noisy.ndcg10)
    once = measure_exposure(Noisy(data, table), data, audience)
    assert not np.array_equal(once.tied, plain.exposure.tied)


def test_pairs_are_right_by_their_side_of_zero(made: tuple[PoisonStore, TaskData, Audience]) -> None:
    store, data, audience = made
    table = scores(data)
    eligible = never_taken(data.test.users, store.genuine, store.verifier.targets)
    found = measure_pairs(Table(data, table), data, audience.targets, eligible)
    for row, (user, clicked) in enumerate(zip(data.test.users, data.test.clicked, strict=True)):
        assert found.clicked[row] == (table[user, clicked] > 0)
        assert found.targets[row].tolist() == [bool(table[user, item] <= 0) for item in audience.targets]


def test_the_worst_case_is_right_under_every_training() -> None:
    clean = PairOutcomes(np.array([True, True]), np.array([[True, True], [True, False]]), np.ones((2, 2), dtype=bool))
    first = replace(clean, clicked=np.array([True, False]))
    second = replace(clean, targets=np.array([[False, True], [True, True]]))
    worst = clean.and_right_under([first, second])
    assert worst.clicked.tolist() == [True, False]
    assert worst.targets.tolist() == [[False, True], [True, False]]
    assert worst.accuracy() == pytest.approx((1 + 1 + 0 + 1 + 1 + 0) / 8 + 1 / 8 * 0)
    assert clean.and_right_under([]).accuracy() == clean.accuracy() == 7 / 8
    assert worst.accuracy(slice(0, 1)) == pytest.approx((0.5 + 0.5) / 2)


def test_only_targets_that_the_user_never_takes_count() -> None:
    outcomes = PairOutcomes(np.array([True]), np.array([[False, True]]), np.array([[False, True]]))
    assert outcomes.accuracy() == 1
    assert np.isnan(outcomes.accuracy(slice(0, 1)))
