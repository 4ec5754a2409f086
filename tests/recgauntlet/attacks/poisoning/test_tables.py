"""Poison tables are made once, kept, and refused as a whole where the verifier finds a fault."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from poison_task import make_store, quick_attacks, write_ordered_task

from recgauntlet.attacks.poisoning.base import PoisoningKnowledge
from recgauntlet.attacks.poisoning.profiles import Bandwagon, RandomProfiles
from recgauntlet.attacks.poisoning.tables import PoisonStore, threat_of
from recgauntlet.core.errors import DataError
from recgauntlet.core.poison import FakeAccounts, Targets
from recgauntlet.core.rng import Randomness
from recgauntlet.data.poison_tables import PoisonTable, named_rows, read_table, rows_hash, write_table
from recgauntlet.data.poisoned import with_accounts
from recgauntlet.threats.training_data import PoisonBudget, changed_genuine


@pytest.fixture
def store(tmp_path: Path) -> PoisonStore:
    return make_store(tmp_path)[0]


class TooMany(RandomProfiles):
    """Ten accounts too many at the high tier."""

    name = "too-many"

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        more = 10 if budget.tier == "high" else 0
        return super().accounts(knowledge, targets, replace(budget, accounts=budget.accounts + more), rng)


class OutOfCatalog(RandomProfiles):
    """Items that do not exist."""

    name = "out-of-catalog"

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        made = super().accounts(knowledge, targets, budget, rng)
        return replace(made, items=made.items + 10_000)


def test_a_table_is_made_once_and_then_read(store: PoisonStore, monkeypatch: pytest.MonkeyPatch) -> None:
    first = store.tables(RandomProfiles())
    monkeypatch.setattr(RandomProfiles, "accounts", None)
    again = store.tables(RandomProfiles())
    for tier, made in first.items():
        assert made.path is not None
        assert again[tier].table.rows() == made.table.rows()
        assert np.array_equal(again[tier].accounts.items, made.accounts.items)


def test_what_a_table_is_made_from_is_in_its_name(store: PoisonStore) -> None:
    path = store.path(Bandwagon(), "low")
    assert store.path(Bandwagon(), "low") == path
    other_threat = store.threat.model_copy(update={"targets": 3})
    other_data = replace(store.genuine, fingerprint="0" * 64)
    others = [
        store.path(Bandwagon(share=0.6), "low"),
        store.path(Bandwagon(), "high"),
        replace(store, threat=other_threat).path(Bandwagon(), "low"),
        replace(store, genuine=other_data).path(Bandwagon(), "low"),
    ]
    assert len({path, *others}) == 5
    # whether the evaluation includes the threat moves no account
    assert replace(store, threat=store.threat.model_copy(update={"active": True})).path(Bandwagon(), "low") == path


def test_a_table_with_too_many_accounts_counts_as_none_and_is_not_kept(store: PoisonStore) -> None:
    tables = store.tables(TooMany())
    (fault,) = tables["high"].faults
    assert fault.problem == "there are 22 accounts, 12 are allowed (high)"
    assert len(tables["high"].accounts) == 0
    assert {made.path for made in tables.values()} == {None}
    assert not any(store.path(TooMany(), tier).exists() for tier in tables)


def test_items_that_do_not_exist_are_named(store: PoisonStore) -> None:
    fault = store.tables(OutOfCatalog())["low"].faults[0]
    assert fault.row == 1
    assert "is no item of the catalog" in fault.problem


def test_a_kept_table_that_was_changed_is_refused(store: PoisonStore) -> None:
    path = store.tables(RandomProfiles())["standard"].path
    assert path is not None
    table = read_table(path)
    write_table(replace(table, items=[*table.items[1:], table.items[0]]), path)
    with pytest.raises(DataError, match=path.name):
        store.tables(RandomProfiles())


def test_kept_tables_that_are_legal_alone_but_not_nested_are_refused(store: PoisonStore) -> None:
    low = store.tables(RandomProfiles())["low"].path
    assert low is not None
    table = read_table(low)
    rows = [(account.replace("fake", "other"), item, time) for account, item, time in table.rows()]  # type: ignore[attr-defined]
    header = table.header.model_copy(update={"sha256": rows_hash(rows)})  # type: ignore[arg-type]
    write_table(PoisonTable(header, *([row[place] for row in rows] for place in range(3))), low)
    store.checked(low)
    with pytest.raises(DataError, match="does not contain the low tier unchanged"):
        store.tables(RandomProfiles())


def test_the_table_of_another_attack_in_its_place_is_refused(store: PoisonStore) -> None:
    for attack in (RandomProfiles(), Bandwagon()):
        store.tables(attack)
    store.path(RandomProfiles(), "low").write_bytes(store.path(Bandwagon(), "low").read_bytes())
    with pytest.raises(DataError, match="is the low tier of bandwagon"):
        store.tables(RandomProfiles())


def test_a_damaged_table_is_refused(store: PoisonStore) -> None:
    path = store.tables(RandomProfiles())["standard"].path
    assert path is not None
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="no Parquet file, or a damaged one"):
        store.tables(RandomProfiles())


def test_where_there_is_no_clock_the_times_of_an_account_are_its_places(tmp_path: Path) -> None:
    store, data = make_store(tmp_path, write_ordered_task)
    genuine = store.genuine
    assert genuine.training.times.max() + 1 == genuine.training_end < genuine.takes.times.max()
    for attack in quick_attacks():
        for made in store.tables(attack).values():
            assert made.faults == ()
            for account in range(made.accounts.count):
                own = made.accounts.times[made.accounts.accounts == account]
                assert own.tolist() == list(range(genuine.median_profile))
    accounts = store.tables(RandomProfiles())["high"].accounts
    poisoned = with_accounts(data, genuine, accounts, store.card.track("standard"))
    assert changed_genuine(data, poisoned) == ""
    assert len(poisoned.data.train) > len(data.train)
    header = store.tables(RandomProfiles())["high"].table.header

    def fault(row: int, place: int) -> str:
        times = accounts.times.copy()
        times[row] = place
        rows = named_rows(replace(accounts, times=times), genuine.catalog)
        return str(store.verifier.faults(PoisonTable(header, *([row[n] for row in rows] for n in range(3))))[0])

    length = genuine.median_profile
    assert (
        fault(2, length)
        == f"time, row 3: {length} is no place of an account of {length} items, which are 0 to {length - 1}"
    )
    assert "-1 is no place" in fault(2, -1)
    assert fault(2, 0) == "time, row 3: 'fake-00001' has two items at the place 0"


def test_a_card_without_a_threat_to_training_data_is_refused(store: PoisonStore) -> None:
    with pytest.raises(DataError, match="no threat to training data"):
        threat_of(store.card.model_copy(update={"poisoning": ()}))
    with pytest.raises(DataError, match="choose among: brushing"):
        threat_of(store.card, "farming")
