"""Plays put into accounts that exist: what the verifier refuses, and that no genuine row is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from poison_task import make_store, write_insertion_task, write_ordered_task

from recgauntlet.attacks.poisoning.insertions import RandomInsertion
from recgauntlet.attacks.poisoning.profiles import RandomProfiles
from recgauntlet.attacks.poisoning.tables import PoisonStore
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.poison import Insertions
from recgauntlet.core.types import PAD
from recgauntlet.data.cache import content_hash
from recgauntlet.data.poison_tables import PoisonTable, rows_hash
from recgauntlet.data.poisoned import with_poison
from recgauntlet.threats.insertions import changed_by_insertions
from recgauntlet.threats.training_data import PoisonBudget, PoisonVerifier

Rows = list[list[Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[PoisonStore, TaskData]:
    return make_store(tmp_path_factory.mktemp("insertions"), write_insertion_task, "playlist-insertion")


@pytest.fixture(scope="module")
def store(made: tuple[PoisonStore, TaskData]) -> PoisonStore:
    return made[0]


@pytest.fixture(scope="module")
def table(store: PoisonStore) -> PoisonTable:
    return store.tables(RandomInsertion())["standard"].table


def insertions(store: PoisonStore) -> Insertions:
    found = store.tables(RandomInsertion())["high"].poison
    assert isinstance(found, Insertions)
    return found


def with_rows(table: PoisonTable, rows: Rows) -> PoisonTable:
    header = table.header.model_copy(update={"sha256": rows_hash([tuple(row) for row in rows])})
    return PoisonTable(header, *([row[place] for row in rows] for place in range(3)))


def members(rules: PoisonVerifier) -> list[str]:
    return [rules.genuine.user_ids[user] for user in rules.targets.collective.tolist()]


def target_ids(rules: PoisonVerifier) -> list[str]:
    return [rules.genuine.catalog.ids[item] for item in rules.targets.items.tolist()]


def test_a_legal_table_has_no_fault(store: PoisonStore, table: PoisonTable) -> None:
    assert store.verifier.faults(table) == []
    assert len(table) == PoisonBudget.of(store.threat, "standard", store.genuine).insertions == 10


CHANGES: dict[str, tuple[int, Callable[[PoisonVerifier], object], str]] = {
    "a new account": (0, lambda rules: "fake-00001", "takes no part in the attack"),
    "a genuine user outside": (
        0,
        lambda rules: next(user for user in rules.genuine.user_ids if user not in members(rules)),
        "takes no part in the attack",
    ),
    "no account": (0, lambda rules: None, "is missing"),
    "an item that is no target": (
        1,
        lambda rules: next(item for item in rules.genuine.catalog.ids if item not in target_ids(rules)),
        "is no target",
    ),
    "an item that does not exist": (1, lambda rules: "i999", "is no target"),
    "NaN as item": (1, lambda rules: float("nan"), "is missing"),
    "a place in a later period": (2, lambda rules: rules.genuine.training_end + 1, "is no place in training"),
    "a negative place": (2, lambda rules: -1, "is no place in training"),
    "half a place": (2, lambda rules: 0.5, "no whole number"),
    "NaN as place": (2, lambda rules: float("nan"), "is missing"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_row_that_is_not_legal_is_named(store: PoisonStore, table: PoisonTable, name: str) -> None:
    column, value, problem = CHANGES[name]
    rows = [list(row) for row in table.rows()]
    rows[3][column] = value(store.verifier)
    fault = store.verifier.faults(with_rows(table, rows))[0]
    assert problem in fault.problem
    assert fault.place == f"{('account', 'item', 'time')[column]}, row 4"


def test_one_play_more_than_allowed_is_refused(store: PoisonStore, table: PoisonTable) -> None:
    rows = [list(row) for row in store.tables(RandomInsertion())["high"].table.rows()]
    (fault,) = store.verifier.faults(with_rows(table, rows[:11]))
    assert str(fault) == "account, row 11: there are 11 plays, 10 are allowed (standard)"


def test_the_rules_for_new_accounts_refuse_genuine_users_still(tmp_path_factory: pytest.TempPathFactory) -> None:
    store, _ = make_store(tmp_path_factory.mktemp("accounts"), write_insertion_task)
    assert store.threat.id == "brushing"
    table = store.tables(RandomProfiles())["standard"].table
    rows = [list(row) for row in table.rows()]
    rows[0][0] = store.genuine.user_ids[0]
    assert "is a genuine user" in store.verifier.faults(with_rows(table, rows))[0].problem


_PLACES = st.one_of(st.none(), st.floats(), st.booleans(), st.integers(-2, 16))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_accepted_keeps_to_the_rules(
    made: tuple[PoisonStore, TaskData], table: PoisonTable, data: st.DataObject
) -> None:
    """The rules are written here again, row by row, from the card."""
    store, clean = made
    rules = store.verifier
    genuine, collective, targets = rules.genuine, members(rules), target_ids(rules)
    accounts = st.one_of(st.sampled_from(collective[:3]), st.sampled_from([*genuine.user_ids[:3], None, "x"]))
    items = st.one_of(st.sampled_from(targets), st.sampled_from(["i0", "i999", None]))
    # mostly rows that could be legal
    row = st.one_of(
        st.tuples(st.sampled_from(collective), st.sampled_from(targets), st.integers(0, 10)),
        st.tuples(accounts, items, _PLACES),
    )
    rows = data.draw(st.lists(row, max_size=12))
    own: dict[object, list[tuple[str, int]]] = {}
    training = genuine.training
    for user, item, place in zip(
        training.users.tolist(), training.items.tolist(), training.times.tolist(), strict=True
    ):
        own.setdefault(genuine.user_ids[user], []).append((genuine.catalog.ids[item], place))
    legal = (
        all(account in collective and item in targets for account, item, _ in rows)
        and all(
            type(place) is int and place in {*(p for _, p in own[account]), max(p for _, p in own[account]) + 1}
            for account, _, place in rows
        )
        and all(item not in {taken for taken, _ in own[account]} for account, item, _ in rows)
        and len({(account, item) for account, item, _ in rows}) == len(rows)
        and len({(account, place) for account, _, place in rows}) == len(rows)
        and len(rows) <= 10
    )
    found = with_rows(table, [list(row) for row in rows])
    assert (rules.faults(found) == []) == legal
    if legal:
        poison = rules.poison(found)
        assert isinstance(poison, Insertions)
        assert [genuine.user_ids[user] for user in poison.users] == [account for account, _, _ in rows]
        poisoned = with_poison(clean, genuine, poison, store.card.track("standard"))
        assert changed_by_insertions(clean, poisoned, poison) == ""


def test_no_insertion_is_no_change(made: tuple[PoisonStore, TaskData]) -> None:
    store, data = made
    same = with_poison(data, store.genuine, Insertions.none(), store.card.track("standard"))
    assert content_hash(same.data) == content_hash(data)


def test_later_histories_of_the_same_user_hold_what_was_inserted_and_no_others(
    made: tuple[PoisonStore, TaskData],
) -> None:
    """Each history is built here again, from lists."""
    store, data = made
    genuine, inserted, card = store.genuine, insertions(store), store.card.track("standard")
    lists: dict[int, list[int]] = {}
    training = genuine.training
    for user in range(len(genuine.user_ids)):
        plays = [(2 * int(t) + 1, int(i)) for t, i in zip(training.times, training.items, strict=True)]
        plays = [play for play, own in zip(plays, training.users == user, strict=True) if own]
        put = [(2 * int(p), int(i)) for p, i in zip(inserted.places, inserted.items, strict=True)]
        plays += [play for play, own in zip(put, inserted.users == user, strict=True) if own]
        lists[user] = [item for _, item in sorted(plays)]
    every = int(training.has_history.sum())
    poisoned = with_poison(data, genuine, inserted, card.model_copy(update={"train_pairs": every})).data
    changed = added = 0
    hosts = set(inserted.users.tolist())
    put_there = {(int(u), int(i)) for u, i in zip(inserted.users, inserted.items, strict=True)}
    for user, history, clicked in zip(
        poisoned.train.users.tolist(), poisoned.train.histories, poisoned.train.clicked.tolist(), strict=True
    ):
        place = lists[user].index(clicked)
        shown = [item for item in history.tolist() if item != PAD]
        assert shown == lists[user][:place][-card.history_length :]
        added += (user, clicked) in put_there
        changed += user in hosts and any((user, item) in put_there for item in shown)
    first = sum(lists[user].index(item) == 0 for user, item in put_there)
    assert added == len(inserted) - first  # what stands first has no history
    assert len(poisoned.train) == len(data.train) + added
    assert changed > 0
    assert poisoned.test is data.test
    assert poisoned.valid is data.valid


def test_a_change_of_anything_else_is_found(made: tuple[PoisonStore, TaskData]) -> None:
    store, data = made
    inserted = insertions(store)
    poisoned = with_poison(data, store.genuine, inserted, store.card.track("standard"))
    assert changed_by_insertions(data, poisoned, inserted) == ""
    train = poisoned.data.train
    size = len(data.catalog)
    genuine_row = ~np.isin(train.users * size + train.clicked, inserted.keys(size))
    rows = {
        "a host's": int(np.flatnonzero(genuine_row & np.isin(train.users, inserted.users))[0]),
        "another user's": int(np.flatnonzero(genuine_row & ~np.isin(train.users, inserted.users))[0]),
    }

    def after(**changes: Any) -> str:
        return changed_by_insertions(data, replace(poisoned, data=replace(poisoned.data, **changes)), inserted)

    for row in rows.values():
        for name in ("users", "clicked", "unclicked", "histories"):
            values = getattr(train, name).copy()
            if name == "histories":
                values[row, -1] = (values[row, -1] + 1) % size
            else:
                values[row] = (values[row] + 1) % (data.user_count if name == "users" else size)
            assert after(train=replace(train, **{name: values})) == "genuine training pairs changed", name
        shorter = train.histories.copy()
        shorter[row] = np.concatenate([[PAD], shorter[row, :-1]])
        assert after(train=replace(train, histories=shorter)) == "genuine training pairs changed"
        kept = np.flatnonzero(np.arange(len(train)) != row)
        assert after(train=train.select(kept)) == "genuine training pairs changed"
    target = int(inserted.items[0])
    stranger = train.histories.copy()
    stranger[rows["another user's"], -1] = target
    assert after(train=replace(train, histories=stranger)) == "genuine training pairs changed"
    assert after(valid=data.test) == "genuine validation or test examples changed"
    assert after(test=data.valid) == "genuine validation or test examples changed"
    assert after(popular_impressions=data.impressions) == "genuine validation or test examples changed"
    assert after(user_count=data.user_count + 1) == "the users or the catalog changed"


def test_fake_accounts_without_a_clock_have_each_place_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    """For the threat with accounts: the rule for places, written here again."""
    store, _ = make_store(tmp_path_factory.mktemp("ordered"), write_ordered_task)
    table = store.tables(RandomProfiles())["standard"].table

    @settings(max_examples=100, deadline=None)
    @given(places=st.lists(st.integers(-1, 4), max_size=5))
    def check(places: list[int]) -> None:
        rows = [["a", item, place] for item, place in zip(store.genuine.catalog.ids, places, strict=False)]
        legal = sorted(places) == list(range(len(places)))
        assert (store.verifier.faults(with_rows(table, rows)) == []) == legal

    check()
