"""The verifier of poison tables: what it refuses, and that whatever it accepts keeps to the budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from poison_task import make_store

from recgauntlet.attacks.poisoning.profiles import RandomProfiles
from recgauntlet.attacks.poisoning.tables import PoisonStore
from recgauntlet.core.dataset import TaskData
from recgauntlet.data.poison_tables import PoisonTable, rows_hash
from recgauntlet.data.poisoned import with_accounts
from recgauntlet.threats.training_data import (
    DAY,
    PoisonBudget,
    PoisonVerifier,
    changed_genuine,
    draw_targets,
    nesting_fault,
)

Rows = list[list[Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[PoisonStore, TaskData]:
    return make_store(tmp_path_factory.mktemp("poison"))


@pytest.fixture(scope="module")
def store(made: tuple[PoisonStore, TaskData]) -> PoisonStore:
    return made[0]


@pytest.fixture(scope="module")
def verifier(store: PoisonStore) -> PoisonVerifier:
    return store.verifier


@pytest.fixture(scope="module")
def table(store: PoisonStore) -> PoisonTable:
    return store.tables(RandomProfiles())["standard"].table


def with_rows(table: PoisonTable, rows: Rows) -> PoisonTable:
    """The table with other rows, and with their hash."""
    header = table.header.model_copy(update={"sha256": rows_hash([tuple(row) for row in rows])})
    return PoisonTable(header, *([row[place] for row in rows] for place in range(3)))


def edited(table: PoisonTable, row: int, column: int, value: object) -> PoisonTable:
    rows = [list(own) for own in table.rows()]
    rows[row][column] = value
    return with_rows(table, rows)


def test_a_legal_table_has_no_fault(verifier: PoisonVerifier, table: PoisonTable) -> None:
    assert verifier.faults(table) == []


CHANGES: dict[str, tuple[int, Callable[[PoisonVerifier], object], str]] = {
    "a genuine user": (0, lambda rules: rules.genuine.user_ids[0], "is a genuine user"),
    "a user of a later period": (0, lambda rules: rules.genuine.user_ids[-1], "is a genuine user"),
    "no account": (0, lambda rules: None, "is missing"),
    "an empty account": (0, lambda rules: "", "is missing"),
    "a number as account": (0, lambda rules: 7, "is no text"),
    "no item": (1, lambda rules: None, "is missing"),
    "NaN as item": (1, lambda rules: float("nan"), "is missing"),
    "an item that does not exist": (1, lambda rules: "i999", "is no item of the catalog"),
    "NaN as time": (2, lambda rules: float("nan"), "is missing"),
    "half a second": (2, lambda rules: rules.genuine.training_end - 0.5, "no whole number"),
    "a text as time": (2, lambda rules: "2020-01-01", "no whole number"),
    "the first second of validation": (2, lambda rules: rules.genuine.training_end, "outside the training period"),
    "before the first": (2, lambda rules: int(rules.genuine.takes.times.min()) - 1, "outside the training period"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_row_that_is_not_legal_is_named(verifier: PoisonVerifier, table: PoisonTable, name: str) -> None:
    column, value, problem = CHANGES[name]
    fault = verifier.faults(edited(table, 3, column, value(verifier)))[0]
    assert problem in fault.problem
    assert fault.place == f"{('account', 'item', 'time')[column]}, row 4"


def test_a_day_on_which_nothing_was_taken_is_refused(verifier: PoisonVerifier, table: PoisonTable) -> None:
    genuine = verifier.genuine
    day = int(genuine.training.times.min()) // DAY + 10
    kept = genuine.takes.times // DAY != day
    quiet = replace(genuine, takes=genuine.takes.where(kept), in_training=genuine.in_training[kept])
    rules = replace(verifier, genuine=quiet)
    found = edited(table, 0, 2, day * DAY + 60)
    assert not any("a day on which" in fault.problem for fault in verifier.faults(found))
    fault = next(fault for fault in rules.faults(found) if fault.row == 1)
    assert "no genuine user took anything" in fault.problem


def test_an_item_twice_in_an_account_is_refused_and_in_two_accounts_not(
    verifier: PoisonVerifier, table: PoisonTable
) -> None:
    rows = [list(row) for row in table.rows()]
    own = [place for place, row in enumerate(rows) if row[0] == rows[0][0]]
    rows[own[1]][1] = rows[own[0]][1]
    fault = verifier.faults(with_rows(table, rows))[0]
    assert "twice" in fault.problem
    assert fault.row == own[1] + 1


def test_one_account_more_than_allowed_is_refused_at_its_first_row(
    verifier: PoisonVerifier, table: PoisonTable
) -> None:
    rows = [list(row) for row in table.rows()]
    rows.append(["one-more", rows[0][1], rows[0][2]])
    (fault,) = verifier.faults(with_rows(table, rows))
    assert fault.problem == "there are 7 accounts, 6 are allowed (standard)"
    assert fault.row == len(rows)


def test_one_item_more_than_the_median_profile_is_refused(verifier: PoisonVerifier, table: PoisonTable) -> None:
    rows = [list(row) for row in table.rows()]
    taken = {row[1] for row in rows if row[0] == rows[0][0]}
    free = next(item for item in verifier.genuine.catalog.ids if item not in taken)
    rows.append([rows[0][0], free, rows[0][2]])
    (fault,) = verifier.faults(with_rows(table, rows))
    length = verifier.genuine.median_profile
    assert fault.problem == f"'{rows[0][0]}' has {length + 1} items, {length} are allowed"
    assert fault.row == len(rows)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "music-listen"),
        ("track", "demo"),
        ("data", "0" * 64),
        ("threat", "farming"),
        ("targets", {"tail": ("i1", "i2"), "head": ("i3", "i4")}),
    ],
)
def test_a_table_made_for_something_else_is_refused(
    verifier: PoisonVerifier, table: PoisonTable, field: str, value: object
) -> None:
    header = table.header.model_copy(update={field: value})
    (fault,) = verifier.faults(replace(table, header=header))
    assert fault.field == f"header.{field}"


def test_rows_that_do_not_fit_the_hash_are_refused(verifier: PoisonVerifier, table: PoisonTable) -> None:
    header = table.header.model_copy(update={"sha256": "0" * 64})
    (fault,) = verifier.faults(replace(table, header=header))
    assert fault.field == "header.sha256"


def test_accounts_that_are_no_number_are_faults_however_many_there_are(
    verifier: PoisonVerifier, table: PoisonTable
) -> None:
    missing = float("nan")
    faults = verifier.faults(with_rows(table, [[missing, "i0", 1_600_000_000 + row] for row in range(50)]))
    assert {fault.field for fault in faults} >= {"account"}
    assert all(fault.row for fault in faults)


def test_a_table_without_rows_is_legal(verifier: PoisonVerifier, table: PoisonTable) -> None:
    empty = with_rows(table, [])
    assert verifier.faults(empty) == []
    assert verifier.accounts(empty).count == 0


def test_a_tier_contains_the_one_before(table: PoisonTable) -> None:
    rows = [list(row) for row in table.rows()]
    first = [row for row in rows if row[0] == rows[0][0]]
    assert nesting_fault(with_rows(table, first), table) is None
    assert nesting_fault(with_rows(table, first[1:]), table) is not None  # the account has one item more
    assert nesting_fault(with_rows(table, [[*first[0][:2], first[0][2] + 1], *first[1:]]), table) is not None
    assert nesting_fault(table, with_rows(table, rows[1:])) is not None


_ACCOUNTS = st.one_of(
    st.none(), st.just(float("nan")), st.text(max_size=3), st.sampled_from(["u0", "u59", "a", "b", "c"])
)
_ITEMS = st.one_of(st.none(), st.integers(), st.sampled_from(["i0", "i1", "i2", "i39", "i40", "x"]))
_TIMES = st.one_of(st.none(), st.floats(), st.booleans(), st.integers(1_599_990_000, 1_610_010_000))


@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # of the fixtures, on a slow machine
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(_ACCOUNTS, _ITEMS, _TIMES), max_size=60))
def test_whatever_is_accepted_keeps_to_the_rules(
    verifier: PoisonVerifier, table: PoisonTable, rows: list[tuple[Any, Any, Any]]
) -> None:
    """The rules are written here again, row by row, from the card."""
    genuine = verifier.genuine
    budget = PoisonBudget.of(verifier.threat, "standard", genuine)
    days = {int(time) // DAY for time in genuine.takes.times.tolist() if time < genuine.training_end}
    legal = (
        all(isinstance(account, str) and account and account not in genuine.user_ids for account, _, _ in rows)
        and all(item in genuine.catalog.ids for _, item, _ in rows)
        and all(
            type(time) is int and genuine.takes.times.min() <= time < genuine.training_end and time // DAY in days
            for _, _, time in rows
        )
        and len({row[:2] for row in rows}) == len(rows)
        and len({account for account, _, _ in rows}) <= budget.accounts
        and all(sum(own == account for own, _, _ in rows) <= budget.length for account, _, _ in rows)
    )
    found = with_rows(table, [list(row) for row in rows])
    assert (verifier.faults(found) == []) == legal
    if legal:
        accounts = verifier.accounts(found)
        assert [genuine.catalog.ids[item] for item in accounts.items] == [item for _, item, _ in rows]
        assert accounts.count == len({account for account, _, _ in rows})


def test_targets_are_of_their_fifth_and_the_same_for_one_seed(store: PoisonStore) -> None:
    genuine, threat = store.genuine, store.threat
    ranks = {item: rank for rank, item in enumerate(np.argsort(genuine.popularity, kind="stable").tolist())}
    unsold = int((genuine.popularity == 0).sum())
    fifth = (len(genuine.catalog) - unsold) / 5
    for seed in range(20):
        drawn = draw_targets(threat, genuine, seed)
        assert all(unsold <= ranks[item] <= unsold + fifth for item in drawn.sets["tail"].tolist())
        assert all(ranks[item] >= len(ranks) - fifth - 1 for item in drawn.sets["head"].tolist())
        assert len(set(drawn.items.tolist())) == 4
        assert draw_targets(threat, genuine, seed).items.tolist() == drawn.items.tolist()
    assert len({tuple(draw_targets(threat, genuine, seed).items.tolist()) for seed in range(20)}) > 5


def test_a_change_of_anything_genuine_is_found(made: tuple[PoisonStore, TaskData]) -> None:
    store, data = made
    accounts = store.tables(RandomProfiles())["high"].accounts
    poisoned = with_accounts(data, store.genuine, accounts, store.card.track("standard"))
    assert changed_genuine(data, poisoned) == ""
    row = int(np.flatnonzero(~np.isin(poisoned.data.train.users, poisoned.fakes))[5])
    train = poisoned.data.train

    def after(**changes: Any) -> str:
        return changed_genuine(data, replace(poisoned, data=replace(poisoned.data, **changes)))

    for name in ("users", "clicked", "unclicked", "histories"):
        values = getattr(train, name).copy()
        values[row] = values[row - 1] if name == "histories" else (values[row] + 1) % 40
        assert after(train=replace(train, **{name: values})) in {"genuine training pairs changed"}
    kept = np.arange(len(train)) != row
    assert after(train=train.select(np.flatnonzero(kept))) == "genuine training pairs changed"
    assert after(valid=train) == "genuine validation pairs changed"
    assert after(test=poisoned.data.valid) == "genuine test pairs changed"
    shown = poisoned.data.impressions
    assert after(impressions=replace(shown, labels=~shown.labels)) == "genuine test impressions changed"
    assert after(popular_impressions=shown) == "genuine test impressions changed"
    assert after(user_count=data.user_count) == "two users have one number"


def test_popular_candidates_keep_their_users_among_fake_accounts(made: tuple[PoisonStore, TaskData]) -> None:
    store, data = made
    data = replace(data, popular_impressions=data.impressions)
    accounts = store.tables(RandomProfiles())["high"].accounts
    poisoned = with_accounts(data, store.genuine, accounts, store.card.track("standard"))
    shown = poisoned.data.popular_impressions
    assert shown is not None
    assert shown.users.tolist() == poisoned.genuine[data.impressions.users].tolist()
    assert changed_genuine(data, poisoned) == ""
    wrong = replace(poisoned, data=replace(poisoned.data, popular_impressions=replace(shown, labels=~shown.labels)))
    assert changed_genuine(data, wrong) == "genuine test impressions changed"
