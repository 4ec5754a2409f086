"""Retraining on poisoned data: resumable, worst case per example, and a refused table is no poison."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import poison_task
import pytest
from tiny_task import make_spec

from recgauntlet.attacks.poisoning.profiles import Coattails, RandomProfiles
from recgauntlet.core.journal import Journal
from recgauntlet.data.poisoned import with_accounts
from recgauntlet.runner import poisoning
from recgauntlet.runner.poisoning import PoisonedCell, Retraining
from recgauntlet.runner.record import Machine
from recgauntlet.training.build import open_cell
from recgauntlet_baselines.defenses.suspicious_users import SuspiciousUsers

ATTACKS: list[tuple[Any, Any]] = [(RandomProfiles(), "standard"), (Coattails(), "high")]


def quiet(what: str, share: float) -> None:
    """No progress."""


def make_cell(folder: Path, **changes: Any) -> PoisonedCell:
    store, data = poison_task.make_store(folder)
    spec = make_spec(folder / "tiny.toml", folder / "out", store.cache)
    cell = open_cell(replace(spec, **({"model": "most-popular", "model_options": ()} | changes)))
    return PoisonedCell(cell, data, store, Machine.of(cell.spec, cell.model))


def trainings(monkeypatch: pytest.MonkeyPatch, most: int = 99) -> list[int]:
    """The number of training pairs of each training from now on; the one after `most` is interrupted."""
    sizes: list[int] = []
    genuine = poisoning.train_cell

    def counted(cell: Any, data: Any, *others: Any) -> Any:
        if len(sizes) == most:
            raise KeyboardInterrupt
        sizes.append(len(data.train))
        return genuine(cell, data, *others)

    monkeypatch.setattr(poisoning, "train_cell", counted)
    return sizes


def test_a_killed_run_loses_the_retraining_in_flight_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell, path = make_cell(tmp_path), tmp_path / "journal"
    with monkeypatch.context() as patch:
        sizes = trainings(patch, most=2)
        with pytest.raises(KeyboardInterrupt):
            cell.run(ATTACKS, Journal(path), quiet)
        assert len(sizes) == 2
    with monkeypatch.context() as patch:
        sizes = trainings(patch)
        resumed = cell.run(ATTACKS, Journal(path), quiet)
        assert len(sizes) == 1
    whole = cell.run(ATTACKS, Journal(), quiet)

    def timeless(found: Retraining) -> str:
        return found.model_copy(update={"seconds": 0.0}).model_dump_json()

    assert list(map(timeless, resumed)) == list(map(timeless, whole))


def test_poison_lifts_the_tail_and_the_worst_case_is_no_better_than_clean(tmp_path: Path) -> None:
    cell = make_cell(tmp_path)
    audience, eligible = cell.audience()
    clean, *poisoned = (own.outcome(audience, eligible) for own in cell.run(ATTACKS, Journal(), quiet))
    tail = slice(0, 2)
    for own in poisoned:
        assert np.nanmean(own.exposure.win_rate()[:, tail]) > np.nanmean(clean.exposure.win_rate()[:, tail]) + 0.1
    worst = clean.pairs.and_right_under([own.pairs for own in poisoned])
    assert worst.accuracy() <= min(own.pairs.accuracy() for own in (clean, *poisoned))


def test_a_refused_table_is_trained_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = make_cell(tmp_path)
    longest = cell.store.genuine.median_profile

    def too_long(self: Any, knowledge: Any, targets: Any, budget: Any, rng: Any) -> Any:
        made = genuine(self, knowledge, targets, replace(budget, length=longest + 1), rng)
        assert made.count == budget.accounts
        return made

    genuine = RandomProfiles.accounts
    monkeypatch.setattr(RandomProfiles, "accounts", too_long)
    clean, refused = cell.run([(RandomProfiles(), "standard")], Journal(), quiet)
    assert "items, " in refused.faults[0]
    assert np.array_equal(clean.above, refused.above)
    assert clean.accuracy == refused.accuracy


def test_what_a_filter_drops_is_counted_by_who_is_fake(tmp_path: Path) -> None:
    cell = make_cell(tmp_path, defense="suspicious-users", defense_options=(("share", 0.2), ("neighbours", 3)))
    clean, poisoned = cell.run(ATTACKS[1:], Journal(), quiet)
    readers = len(np.unique(cell.data.train.users))
    assert (clean.dropped_fakes, clean.dropped_genuine) == (0, int(0.2 * readers))
    accounts = cell.store.tables(Coattails())["high"].accounts
    made = with_accounts(cell.data, cell.store.genuine, accounts, cell.store.card.track("standard"))
    users = set(made.data.train.users.tolist())
    dropped = users - set(SuspiciousUsers(share=0.2, neighbours=3).filter(made.data.train).users.tolist())
    assert len(dropped) == int(0.2 * len(users))
    assert poisoned.dropped_fakes == len(dropped & set(made.fakes.tolist())) > 0
    assert poisoned.dropped_genuine == len(dropped & set(made.genuine.tolist()))
