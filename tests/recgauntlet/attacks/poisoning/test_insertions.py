"""Attacks that put plays into accounts that exist keep to the budget, and choose places as their names say."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from poison_task import make_store, write_insertion_task

from recgauntlet.attacks.poisoning.base import PoisoningKnowledge
from recgauntlet.attacks.poisoning.insertions import (
    EarlyInsertion,
    Insertion,
    InsertionBehindPopular,
    InsertionBehindPredictor,
    RandomInsertion,
)
from recgauntlet.attacks.poisoning.suite import attacks_on, chosen_attacks, insertion_attacks, poisoning_attacks
from recgauntlet.attacks.poisoning.tables import PoisonStore, threat_of
from recgauntlet.core.card import TIERS
from recgauntlet.core.errors import PluginError
from recgauntlet.core.poison import Insertions
from recgauntlet.core.rng import Randomness
from recgauntlet.threats.training_data import PoisonBudget


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PoisonStore:
    return make_store(tmp_path_factory.mktemp("insertions"), write_insertion_task, "playlist-insertion")[0]


def made(attack: Insertion, store: PoisonStore, seed: int = 0) -> Insertions:
    training, targets = store.genuine.training, store.verifier.targets
    return attack.insertions(
        PoisoningKnowledge.of(store.genuine, "public"),
        training.where(np.isin(training.users, targets.collective)),
        targets,
        PoisonBudget.of(store.threat, "high", store.genuine),
        Randomness(seed, "test"),
    )


@pytest.mark.parametrize("attack", insertion_attacks(), ids=lambda attack: attack.name)
def test_the_tables_of_every_attack_are_legal_nested_and_spend_the_budget(
    attack: Insertion, store: PoisonStore
) -> None:
    tables = store.tables(attack)
    assert {tier: found.faults for tier, found in tables.items()} == dict.fromkeys(TIERS, ())
    counts = [PoisonBudget.of(store.threat, tier, store.genuine).insertions for tier in TIERS]
    assert [len(tables[tier].table) for tier in TIERS] == counts
    assert set(tables["low"].table.rows()) < set(tables["standard"].table.rows()) < set(tables["high"].table.rows())
    uses = Counter(tables["standard"].table.items)
    assert max(uses.values()) - min(uses.values()) <= 1
    with pytest.raises(TypeError, match="no account is made"):
        _ = tables["high"].accounts


@pytest.mark.parametrize("attack", insertion_attacks(), ids=lambda attack: attack.name)
def test_one_seed_gives_the_same_plays(attack: Insertion, store: PoisonStore) -> None:
    first, again = made(attack, store), made(attack, store)
    assert all(np.array_equal(getattr(first, name), getattr(again, name)) for name in ("users", "items", "places"))
    other = made(RandomInsertion(), store, seed=1)
    assert not np.array_equal(made(RandomInsertion(), store).places, other.places)


def test_the_first_play_stands_behind_the_best_predictor(store: PoisonStore) -> None:
    genuine, targets = store.genuine, store.verifier.targets
    training = genuine.training
    lists: dict[int, list[int]] = {}
    for user, item in zip(training.users.tolist(), training.items.tolist(), strict=True):
        lists.setdefault(user, []).append(item)
    found = made(InsertionBehindPredictor(), store)
    target, user, place = int(found.items[0]), int(found.users[0]), int(found.places[0])
    share = {
        item: (sum(item in own and target in own for own in lists.values()) + 1)
        / (sum(item in own for own in lists.values()) + 1)
        for member in targets.collective.tolist()
        if target not in lists[member]
        for item in lists[member]
    }
    behind = [t for t in training.times[training.users == user].tolist() if t < place]
    assert share[lists[user][len(behind) - 1]] == max(share.values())


def test_a_play_stands_behind_the_most_popular_item_or_before_most_others(store: PoisonStore) -> None:
    training, popularity = store.genuine.training, store.genuine.popularity
    collective = np.isin(training.users, store.verifier.targets.collective)
    found = made(InsertionBehindPopular(), store)
    before = (training.users == found.users[0]) & (training.times < found.places[0])
    item = int(training.items[before][-1])
    target = int(found.items[0])
    free = ~np.isin(training.users, training.users[training.items == target])
    assert popularity[item] == popularity[training.items[collective & free]].max()
    early = made(EarlyInsertion(), store)
    assert early.places[0] == 1  # behind the first play
    assert np.mean(early.places) < np.mean(made(RandomInsertion(), store).places)


def test_where_no_account_is_left_fewer_plays_are_made(store: PoisonStore) -> None:
    """27 plays of one target do not fit into 12 accounts."""
    targets = store.verifier.targets
    one = type(targets)({"label": targets.items[:1]}, targets.collective)
    training = store.genuine.training
    own = training.where(np.isin(training.users, targets.collective))
    budget = PoisonBudget.of(store.threat, "high", store.genuine)
    knowledge = PoisoningKnowledge.of(store.genuine, "public")
    found = RandomInsertion().insertions(knowledge, own, one, budget, Randomness(0, "test"))
    without = 12 - len(np.unique(own.users[own.items == one.items[0]]))
    assert len(found) == len(np.unique(found.users)) == without < 27


def test_each_threat_has_its_own_attacks(store: PoisonStore) -> None:
    brushing = threat_of(store.card, "brushing")
    assert [attack.name for attack in attacks_on(brushing)] == [attack.name for attack in poisoning_attacks()]
    assert [attack.name for attack in chosen_attacks(store.threat, ())] == [
        "insert-random",
        "insert-behind-predictor",
        "insert-behind-popular",
        "insert-early",
    ]
    with pytest.raises(PluginError, match="no poisoning attack 'placement' for playlist-insertion"):
        chosen_attacks(store.threat, ["placement"])
