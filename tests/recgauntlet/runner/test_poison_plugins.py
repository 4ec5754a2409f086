"""Poisoning attacks of plugins make tables from a process of their own, which reads no data and decides nothing."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from poison_task import make_store

from recgauntlet.attacks.poisoning.base import Poisoning
from recgauntlet.attacks.poisoning.tables import PoisonStore
from recgauntlet.core import files
from recgauntlet.core.errors import PluginError
from recgauntlet.core.task import SourceOptions
from recgauntlet.runner.enclosure import paths_of_data
from recgauntlet.runner.poison_plugins import find_attacks, poisoning_plugin

pytestmark = [pytest.mark.timeout(120), pytest.mark.usefixtures("test_plugins")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("poison")


@pytest.fixture(scope="module")
def store(folder: Path) -> PoisonStore:
    return make_store(folder)[0]


def plugin(name: str, folder: Path) -> Poisoning:
    source = SourceOptions(directory=None, cache=folder / "cache", offline=True)
    return poisoning_plugin(name, paths_of_data(str(folder / "tiny.toml"), source))


def test_a_plugin_makes_legal_nested_tables_and_is_not_imported_here(store: PoisonStore, folder: Path) -> None:
    attack = plugin("targets-alone", folder)
    assert (attack.name, attack.knowledge, attack.hyperparameters()) == ("targets-alone", "public", {"most": 4})
    tables = store.tables(attack)
    assert [made.faults for made in tables.values()] == [(), (), ()]
    assert [made.poison.count for made in tables.values()] == [3, 6, 12]
    accounts = tables["low"].accounts
    assert np.array_equal(np.sort(accounts.items[accounts.accounts == 0]), np.sort(store.verifier.targets.items))
    assert "recgauntlet_test_poisoning" not in sys.modules


def test_a_changed_plugin_makes_new_tables(store: PoisonStore, folder: Path) -> None:
    attack = plugin("targets-alone", folder)
    path = store.path(attack, "low")
    attack.source = "another"
    assert store.path(attack, "low") != path


def test_what_a_plugin_does_to_the_verifier_changes_nothing(store: PoisonStore, folder: Path) -> None:
    tables = store.tables(plugin("replaces-the-verifier", folder))
    assert "there are 7 accounts, 6 are allowed" in str(tables["standard"].faults[0])
    assert tables["standard"].poison.count == 0


def test_a_plugin_cannot_read_the_data(store: PoisonStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from multiprocessing import forkserver

    place = files.prepared(folder / "cache")
    assert list(place.iterdir())
    monkeypatch.setenv("TEST_TARGET", str(place))
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # it keeps the environment that it was started in
    with pytest.raises(PluginError, match="tried to read 'tiny-standard-"):
        store.tables(plugin("reads-the-data", folder))
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    source = SourceOptions(directory=None, cache=folder / "cache", offline=True)
    assert {place, folder / "interactions.csv"} <= set(paths_of_data(str(folder / "tiny.toml"), source))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("numbers-that-are-none", "gives no accounts"),
        ("negative-accounts", "not numbered from 0"),
        ("raises", "failed: ZeroDivisionError: oh"),
        ("exits", "there is no answer"),
    ],
)
def test_a_broken_plugin_is_an_error_that_names_it(name: str, problem: str, store: PoisonStore, folder: Path) -> None:
    with pytest.raises(PluginError, match=f"the poisoning attack '{name}'.*{problem}"):
        store.tables(plugin(name, folder))


def test_a_plugin_that_is_no_attack_or_has_another_name_is_refused(folder: Path) -> None:
    for name, problem in (
        ("no-attack", "is not a subclass of recgauntlet.Poisoning"),
        ("another-name", "has the name 'random'"),
        ("targets-alon", "did you mean targets-alone"),
        ("../x", "is no name of an attack"),
    ):
        with pytest.raises(PluginError, match=problem):
            plugin(name, folder)


def test_attacks_are_found_by_name_in_the_suite_and_among_plugins(store: PoisonStore, folder: Path) -> None:
    found = find_attacks(store.threat, ["bandwagon", "targets-alone"], [folder])
    assert [attack.name for attack in found] == ["bandwagon", "targets-alone"]
    assert "targets-alone" not in {attack.name for attack in find_attacks(store.threat, (), [folder])}
    with pytest.raises(PluginError, match="there is no poisoning attack 'unknown'"):
        find_attacks(store.threat, ["unknown"], [folder])
    insertions = replace(store, threat=store.threat.model_copy(update={"insertions": store.threat.accounts})).threat
    with pytest.raises(PluginError, match="no poisoning attack 'targets-alone'"):
        find_attacks(insertions, ["targets-alone"], [folder])
