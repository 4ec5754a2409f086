"""Fake accounts among the training users: their pairs follow the genuine rules, and nothing shows which they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from poison_task import make_store

from recgauntlet.attacks.poisoning.profiles import RandomProfiles
from recgauntlet.attacks.poisoning.tables import PoisonStore
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.poison import FakeAccounts
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.data.cache import content_hash
from recgauntlet.data.poisoned import PoisonedData, untrained_pairs, with_accounts
from recgauntlet.data.takes import Takes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[PoisonStore, TaskData]:
    return make_store(tmp_path_factory.mktemp("poison"))


def poisoned(made: tuple[PoisonStore, TaskData], fakes: FakeAccounts, **card: object) -> PoisonedData:
    store, data = made
    return with_accounts(data, store.genuine, fakes, store.card.track("standard").model_copy(update=card))


@pytest.fixture(scope="module")
def fakes(made: tuple[PoisonStore, TaskData]) -> FakeAccounts:
    return made[0].tables(RandomProfiles())["high"].accounts


def test_no_accounts_are_no_change(made: tuple[PoisonStore, TaskData]) -> None:
    same = poisoned(made, FakeAccounts.none())
    assert content_hash(same.data) == content_hash(made[1])
    assert len(same.fakes) == 0


def test_genuine_users_keep_what_they_took_under_their_new_numbers(
    made: tuple[PoisonStore, TaskData], fakes: FakeAccounts
) -> None:
    before, found = made[1], poisoned(made, fakes)
    assert before.taken is not None
    assert found.data.taken is not None
    for old, new in enumerate(found.genuine.tolist()):
        assert found.data.taken.of(new).tolist() == before.taken.of(old).tolist()
    assert all(len(found.data.taken.of(account)) == 0 for account in found.fakes.tolist())


def test_pairs_of_an_account_have_what_it_took_before_and_never_took(
    made: tuple[PoisonStore, TaskData], fakes: FakeAccounts
) -> None:
    every = int(made[0].genuine.training.has_history.sum())
    found = poisoned(made, fakes, train_pairs=every)  # each click with a history is taken
    number = {int(user): account for account, user in enumerate(found.fakes)}
    took = [
        [int(item) for item in fakes.items[fakes.accounts == a][np.argsort(fakes.times[fakes.accounts == a])]]
        for a in range(fakes.count)
    ]
    train, clicked = found.data.train, set()
    for row in np.flatnonzero(np.isin(train.users, found.fakes)):
        account = number[int(train.users[row])]
        place = took[account].index(int(train.clicked[row]))
        history = [item for item in train.histories[row].tolist() if item != PAD]
        assert history == took[account][:place][-6:]
        assert int(train.unclicked[row]) not in took[account]
        clicked.add((account, place))
    assert clicked == {(account, place) for account, own in enumerate(took) for place in range(1, len(own))}


def test_clicks_of_accounts_are_drawn_with_the_chance_of_genuine_ones(
    made: tuple[PoisonStore, TaskData], fakes: FakeAccounts
) -> None:
    eligible = int(made[0].genuine.training.has_history.sum())
    count = len(fakes) - fakes.count
    for share in (0.25, 0.75):
        wanted = round(share * eligible)
        added = [
            len(poisoned(made, replace(fakes, times=fakes.times + shift), train_pairs=wanted).data.train)
            - len(made[1].train)
            for shift in range(30)
        ]
        assert abs(np.mean(added) / count - share) < 4 * np.sqrt(share * (1 - share) / (30 * count))


def test_genuine_pairs_keep_their_order_and_users_are_only_numbered_anew(
    made: tuple[PoisonStore, TaskData], fakes: FakeAccounts
) -> None:
    data, found = made[1], poisoned(made, fakes)
    after = found.data
    kept = after.train.select(np.flatnonzero(~np.isin(after.train.users, found.fakes)))
    assert np.array_equal(kept.users, found.genuine[data.train.users])
    for name in ("histories", "clicked", "unclicked"):
        assert np.array_equal(getattr(kept, name), getattr(data.train, name))
        assert np.array_equal(getattr(after.valid, name), getattr(data.valid, name))
        assert np.array_equal(getattr(after.test, name), getattr(data.test, name))
    assert np.array_equal(after.valid.users, found.genuine[data.valid.users])
    assert np.array_equal(after.impressions.users, found.genuine[data.impressions.users])
    assert after.user_count == data.user_count + fakes.count
    assert sorted([*found.genuine, *found.fakes]) == list(range(after.user_count))


def test_neither_number_nor_place_shows_which_are_fake(made: tuple[PoisonStore, TaskData], fakes: FakeAccounts) -> None:
    """Over many tables the mean number of a fake account, and the mean place of its pairs, is the middle."""
    numbers, places = [], []
    for shift in range(40):
        found = poisoned(made, replace(fakes, times=fakes.times + shift))
        numbers.append(found.fakes.mean() / (found.data.user_count - 1))
        places.append(np.flatnonzero(np.isin(found.data.train.users, found.fakes)).mean() / (len(found.data.train) - 1))
    for means, drawn in ((numbers, fakes.count), (places, 20)):
        assert abs(np.mean(means) - 0.5) < 4 * np.sqrt(1 / 12 / drawn / 40)


def test_the_numbers_depend_on_the_accounts_and_on_nothing_of_a_cell(
    made: tuple[PoisonStore, TaskData], fakes: FakeAccounts
) -> None:
    first, again = poisoned(made, fakes), poisoned(made, fakes)
    assert content_hash(first.data) == content_hash(again.data)
    later = poisoned(made, replace(fakes, times=fakes.times + 1))
    assert not np.array_equal(first.fakes, later.fakes)


def test_an_account_with_one_basket_gives_no_pair(made: tuple[PoisonStore, TaskData], fakes: FakeAccounts) -> None:
    """What was bought at one time does not explain itself, for genuine customers neither."""
    at_once = replace(fakes, times=np.full_like(fakes.times, fakes.times[0]))
    assert len(poisoned(made, at_once).data.train) == len(made[1].train)


def test_untrained_pairs_are_those_that_the_draw_left_out(
    made: tuple[PoisonStore, TaskData], fakes: FakeAccounts
) -> None:
    found = poisoned(made, fakes)
    size, takes = len(made[0].genuine.catalog), Takes.of(fakes.accounts, fakes.items, fakes.times)
    rest = untrained_pairs(found.data.train, takes, found.fakes, size, Randomness(0, "untrained"), 10_000)
    own = np.isin(found.data.train.users, found.fakes)
    trained = set((found.data.train.users[own] * size + found.data.train.clicked[own]).tolist())
    left = (rest.users * size + rest.clicked).tolist()
    assert trained
    assert sorted([*trained, *left]) == sorted(
        (found.fakes[takes.users] * size + takes.items)[takes.has_history].tolist()
    )
    taken = set((found.fakes[takes.users] * size + takes.items).tolist())
    assert not taken & set((rest.users * size + rest.unclicked).tolist())
    assert len(untrained_pairs(found.data.train, takes, found.fakes, size, Randomness(0, "untrained"), 3)) == 3
