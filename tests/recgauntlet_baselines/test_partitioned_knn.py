"""Partitioned KNN: its votes by hand, groups that depend on nobody else, and a certificate that fakes do not break."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted_fakes import HONEST, ITEMS, poisoned
from toy_recommender import make_catalog

from recgauntlet.core.batch import Users
from recgauntlet.core.dataset import Pairs, TrainingPeriod
from recgauntlet.core.recommender import Origin
from recgauntlet.core.types import PAD, IntArray
from recgauntlet_baselines._profiles import profiles
from recgauntlet_baselines.models.partitioned_knn import PartitionedKNN, certified, groups_of

GROUPS = 60


def built(pairs: Pairs, groups: int = GROUPS) -> PartitionedKNN:
    period = TrainingPeriod(pairs, int(pairs.users.max()) + 1)
    return PartitionedKNN.build(Origin(make_catalog(ITEMS), 16, {"groups": groups}, period), 0).eval()


def votes(model: PartitionedKNN, pairs: Pairs, items: IntArray) -> torch.Tensor:
    users = Users(torch.from_numpy(pairs.users), torch.from_numpy(pairs.histories))
    with torch.no_grad():
        return model.votes(model.encode_user(users), model.candidates(torch.from_numpy(items)))


def with_fakes(pairs: Pairs, profiles: IntArray) -> Pairs:
    """`pairs` and accounts that take `profiles [F, 13]`."""
    users = HONEST + np.arange(len(profiles))
    return Pairs(
        np.concatenate([pairs.users, users]),
        np.concatenate([pairs.histories, profiles[:, 1:]]),
        np.concatenate([pairs.clicked, profiles[:, 0]]),
        np.concatenate([pairs.unclicked, np.zeros(len(profiles), dtype=np.int64)]),
    )


def test_a_vote_is_the_sum_of_cosines_over_the_users_of_a_group() -> None:
    pairs = poisoned(fakes=0)
    model = built(pairs, groups=7)
    _, taken = profiles(pairs)
    group, dense = groups_of(taken, 7), taken.toarray()
    for row in (0, 1, 2):
        history, item = pairs.histories[row], int(pairs.clicked[row])
        real = history[history != PAD]
        expected = []
        for g in range(7):
            own = dense[group == g]
            n = own.sum(axis=0)
            cosines = [own[:, j] @ own[:, item] / np.sqrt(max(1, n[j]) * max(1, n[item])) for j in real]
            expected.append(np.tanh(sum(cosines) / len(real) ** 0.5 / 0.1))
        found = votes(model, pairs.select(np.array([row])), np.array([item]))
        assert found[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_group_of_a_user_depends_on_nobody_else() -> None:
    pairs = poisoned(fakes=0)
    _, before = profiles(pairs)
    fakes = np.random.default_rng(0).integers(0, ITEMS, size=(30, 13))
    _, after = profiles(with_fakes(pairs, fakes))
    group = groups_of(before, GROUPS)
    assert np.array_equal(groups_of(after, GROUPS)[: len(group)], group)
    assert np.bincount(group, minlength=GROUPS).max() < 20


@pytest.mark.parametrize("recipe", ["random", "history", "one-group"])
def test_no_fake_account_turns_a_certified_pair(recipe: str) -> None:
    """Fakes that take the worse candidate with what the users have in their histories; some pairs do turn."""
    pairs, fakes = poisoned(fakes=0, tastes=2), 4
    generator = np.random.default_rng(3)
    asked = pairs.select(np.arange(200))
    worse = generator.permutation(np.arange(200) % ITEMS)
    model = built(pairs)
    above, below = votes(model, asked, asked.clicked), votes(model, asked, worse)
    holds = certified(above, below, fakes)
    assert 0.05 < float(holds.double().mean()) < 0.95
    turned = 0
    for target in np.unique(worse)[:25]:
        profile = generator.integers(0, ITEMS, size=(fakes, 13))
        if recipe != "random":
            seen = asked.histories[worse == target].ravel()
            seen = seen[seen != PAD]
            profile[:, 1:] = generator.choice(seen, size=(fakes, 12))
        if recipe == "one-group":
            profile[:] = profile[0]
        profile[:, 0] = target
        attacked = built(with_fakes(pairs, profile))
        here = np.flatnonzero(worse == target)
        part = asked.select(here)
        wrong = votes(attacked, part, worse[here]).sum(dim=1) >= votes(attacked, part, part.clicked).sum(dim=1)
        assert not (wrong & holds[here]).any()
        right_before = above[here].sum(dim=1) > below[here].sum(dim=1)
        turned += int((wrong & right_before).sum())
    if recipe == "history":
        assert turned > 0, "an attack that turns nothing tests nothing"


def test_more_fakes_certify_less_and_too_many_nothing() -> None:
    pairs = poisoned(fakes=0)
    model = built(pairs)
    above, below = votes(model, pairs, pairs.clicked), votes(model, pairs, pairs.unclicked)
    counts = [int(certified(above, below, fakes).sum()) for fakes in (0, 2, 8, GROUPS // 2, 2 * GROUPS)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[1] > 0
    assert counts[-2:] == [0, 0]
    without = above.double().sum(dim=1) > below.double().sum(dim=1) + 1e-3
    assert counts[0] == int(without.sum())


def test_states_from_histories_and_from_their_handle_agree() -> None:
    pairs = poisoned(fakes=0).select(np.arange(20))
    model = built(poisoned(fakes=0))
    users = Users(torch.from_numpy(pairs.users), torch.from_numpy(pairs.histories))
    looked_up = model.encode_user(users).tensors[0]
    torch.testing.assert_close(model.encode_user(users, model.embed_history(users)).tensors[0], looked_up)
