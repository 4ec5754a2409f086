"""Every rule of thumb keeps to the budget, with the targets inside, and does what its name says."""

from __future__ import annotations

import numpy as np
import pytest
from poison_task import make_store, quick_attacks

from recgauntlet.attacks.poisoning.base import Poisoning, PoisoningKnowledge, targets_of
from recgauntlet.attacks.poisoning.profiles import Bandwagon, Coattails, Copy, Placement, Segment
from recgauntlet.attacks.poisoning.tables import PoisonStore
from recgauntlet.core.card import TIERS
from recgauntlet.core.poison import FakeAccounts, Targets
from recgauntlet.core.rng import Randomness
from recgauntlet.threats.training_data import PoisonBudget


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PoisonStore:
    return make_store(tmp_path_factory.mktemp("poison"))[0]


def made(attack: Poisoning, store: PoisonStore, seed: int = 0) -> FakeAccounts:
    knowledge = PoisoningKnowledge.of(store.genuine, attack.knowledge)
    budget = PoisonBudget.of(store.threat, "high", store.genuine)
    return attack.accounts(knowledge, store.verifier.targets, budget, Randomness(seed, "test"))


def profiles(fakes: FakeAccounts) -> list[list[int]]:
    """The items of each account in order of time."""
    order = np.lexsort((fakes.times, fakes.accounts))
    return [fakes.items[order][fakes.accounts[order] == account].tolist() for account in range(fakes.count)]


@pytest.mark.parametrize("attack", quick_attacks(), ids=lambda attack: attack.name)
def test_every_attack_spends_the_whole_budget_and_no_more_with_all_targets_inside(
    attack: Poisoning, store: PoisonStore
) -> None:
    budget = PoisonBudget.of(store.threat, "high", store.genuine)
    found = profiles(made(attack, store))
    assert [len(profile) for profile in found] == [budget.length] * budget.accounts
    assert all(len(set(profile)) == len(profile) for profile in found)
    assert all(set(store.verifier.targets.items.tolist()) <= set(profile) for profile in found)


@pytest.mark.parametrize("attack", quick_attacks(), ids=lambda attack: attack.name)
def test_the_tables_of_every_attack_are_legal_and_nested(attack: Poisoning, store: PoisonStore) -> None:
    tables = store.tables(attack)
    assert {tier: made.faults for tier, made in tables.items()} == dict.fromkeys(TIERS, ())
    counts = [tables[tier].accounts.count for tier in TIERS]
    assert counts == [PoisonBudget.of(store.threat, tier, store.genuine).accounts for tier in TIERS]
    assert set(tables["low"].table.rows()) < set(tables["standard"].table.rows()) < set(tables["high"].table.rows())


@pytest.mark.parametrize("attack", quick_attacks(), ids=lambda attack: attack.name)
def test_one_seed_gives_the_same_accounts_and_another_seed_others(attack: Poisoning, store: PoisonStore) -> None:
    first, again, other = made(attack, store), made(attack, store), made(attack, store, seed=1)
    assert np.array_equal(first.items, again.items)
    assert np.array_equal(first.times, again.times)
    assert not np.array_equal(first.times, other.times)


def test_coattails_takes_the_bestsellers_in_every_account(store: PoisonStore) -> None:
    popularity = store.genuine.popularity.copy()
    popularity[store.verifier.targets.items] = -1
    for profile in profiles(made(Coattails(), store)):
        fillers = set(profile) - set(store.verifier.targets.items.tolist())
        least = min(popularity[list(fillers)])
        assert all(item in fillers for item in np.flatnonzero(popularity > least))


def test_bandwagon_takes_its_share_of_bestsellers(store: PoisonStore) -> None:
    popularity = store.genuine.popularity.copy()
    popularity[store.verifier.targets.items] = 0
    best = set(np.argsort(-popularity, kind="stable")[:4].tolist())
    for profile in profiles(made(Bandwagon(share=0.5, top=0.1), store)):
        fillers = [item for item in profile if item not in store.verifier.targets.items]
        assert len(best & set(fillers)) >= min(len(best), round(0.5 * len(fillers)))


def test_segment_prefers_what_the_users_of_a_target_take(store: PoisonStore) -> None:
    knowledge = PoisoningKnowledge.of(store.genuine, "public")
    targets = store.verifier.targets
    own = targets.items[:1]
    shared = knowledge.covisits[own, :].toarray()[0]
    found = Segment().fillers(knowledge, targets, own, 3, np.random.default_rng(0))
    assert (shared[found] > 0).all()


def test_copies_keep_the_order_of_a_genuine_user(store: PoisonStore) -> None:
    training, targets = store.genuine.training, set(store.verifier.targets.items.tolist())
    genuine = [
        [item for item in training.items[training.users == user].tolist() if item not in targets]
        for user in np.unique(training.users)
    ]
    for profile in profiles(made(Copy(), store)):
        copied = [item for item in profile if item not in targets]
        assert any(own[-len(copied) :] == copied for own in genuine)


def test_a_copy_needs_to_know_the_training_data(store: PoisonStore) -> None:
    knowledge = PoisoningKnowledge.of(store.genuine, "public")
    assert knowledge.training is None
    budget = PoisonBudget.of(store.threat, "low", store.genuine)
    with pytest.raises(ValueError, match="genuine training interactions"):
        Copy().accounts(knowledge, store.verifier.targets, budget, Randomness(0, "test"))


def test_placement_puts_every_target_behind_another_item_in_the_last_days(store: PoisonStore) -> None:
    targets = set(store.verifier.targets.items.tolist())
    fakes = made(Placement(days=3), store)
    assert fakes.times.min() >= PoisoningKnowledge.of(store.genuine, "public").moments[-3, 0]
    for profile in profiles(fakes):
        places = [place for place, item in enumerate(profile) if item in targets]
        assert all(place > 0 and profile[place - 1] not in targets for place in places)


def test_where_a_profile_is_short_accounts_share_the_targets() -> None:
    targets = Targets({"tail": np.arange(5), "head": np.arange(5, 10)})
    assert len(targets_of(0, targets, 20)) == 10
    assert [targets_of(account, targets, 8).tolist() for account in range(3)] == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
        [8, 9, 0, 1],
    ]


def test_moments_are_the_parts_of_days_inside_the_training_period(store: PoisonStore) -> None:
    moments = PoisoningKnowledge.of(store.genuine, "public").moments
    times = store.genuine.training.times
    assert moments[0, 0] == times.min()
    assert moments[-1, 1] <= store.genuine.training_end
    assert all(((begin <= times) & (times < end)).any() for begin, end in moments)
