"""Retraining on poisoned data: inside a cell, resumable, worst case per example; a refused table is no poison."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import poison_task
import pytest
from tiny_task import make_spec

from recgauntlet.attacks.poisoning.greybox import single_attacks
from recgauntlet.attacks.poisoning.profiles import RandomProfiles
from recgauntlet.core.errors import RecordError
from recgauntlet.core.journal import Journal
from recgauntlet.core.spec import CellSpec
from recgauntlet.data import cache
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.prepare import ready
from recgauntlet.records.io import read_record
from recgauntlet.records.poisoning import TrainingDataOutcome
from recgauntlet.runner import poison_look
from recgauntlet.runner.cell import run_cell
from recgauntlet.runner.engine import LocalEngine
from recgauntlet.runner.plan import plan
from recgauntlet.runner.poison_look import PoisonedCell
from recgauntlet.runner.poisoned_files import PoisonedFiles, chosen_of, threats_of
from recgauntlet.runner.poisoning import FAST, Retraining, poisoned_files, trainings_of
from recgauntlet.runner.record import Machine
from recgauntlet.runner.sweep import run_sweep
from recgauntlet.runner.worker import CellJob
from recgauntlet.testing.audit.accounts import Insight, KnownSteps
from recgauntlet.training.build import open_cell
from recgauntlet.training.defense import find_defense
from recgauntlet.training.device import now

ATTACKS: list[tuple[str, Any]] = [("random", "standard"), ("coattails", "high")]
NAMES = tuple(attack.name for attack in single_attacks())


def quiet(what: str, share: float) -> None:
    """No progress."""


class Watching:
    """A watcher that interrupts once a training is measured whose title has `stop` in it."""

    def __init__(self, stop: str = "") -> None:
        self.stop = stop
        self.what: list[str] = []

    def started(self, name: str) -> None:
        """Nothing to keep."""

    def progress(self, name: str, what: str, share: float) -> None:
        self.what.append(what)
        if self.stop and what.startswith("poisoning: measuring") and self.stop in what:
            raise KeyboardInterrupt

    def finished(self, name: str, result: str, failure: str) -> None:
        """Nothing to keep."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("poisoned")
    poison_task.write_active_task(folder)
    return folder


def spec_of(folder: Path, out: Path, **changes: Any) -> CellSpec:
    spec = make_spec(folder / "tiny.toml", out, folder / "cache")
    return replace(spec, **({"model": "most-popular", "model_options": ()} | changes))


def make_cell(folder: Path, **changes: Any) -> PoisonedCell:
    store, data = poison_task.make_store(folder)
    spec = make_spec(folder / "tiny.toml", folder / "out", store.cache)
    cell = open_cell(replace(spec, **({"model": "most-popular", "model_options": ()} | changes)))
    prepared = ready(cell.task, "standard", spec.source)
    files = PoisonedFiles.of(store.card, "standard", store.threat, prepared, store.cache)
    files.ready(cell.task, "standard", spec.source, [name for name, _ in ATTACKS])
    return PoisonedCell(cell, data, files, Machine.of(cell.spec, cell.model))


@pytest.fixture(scope="module")
def outcome(folder: Path) -> TrainingDataOutcome:
    """Of a most-popular model."""
    spec = spec_of(folder, folder / "out")
    record = run_cell(spec)
    assert record.failure is None, record.failure
    assert read_record(spec.record_path) == record.sealed()
    (found,) = record.poisoning
    return found


def test_a_cheap_model_is_trained_under_all_attacks_and_the_worst_at_all_tiers(outcome: TrainingDataOutcome) -> None:
    assert outcome.attacks == ("coattails", "random")
    assert outcome.ranked
    at = [(one.attack, one.tier) for one in outcome.trainings]
    assert set(at[: len(NAMES)]) == {(name, "standard") for name in NAMES}
    (worst, low), (same, high) = at[len(NAMES) :]
    assert (worst, low, high) == (same, "low", "high")
    assert worst in outcome.attacks
    assert outcome.clean is not None
    before = outcome.pairs(outcome.clean)
    standard = {
        one.attack: before.and_right_under([outcome.pairs(one.outcome)]).accuracy()
        for one in outcome.trainings
        if one.tier == "standard" and one.attack in outcome.attacks
    }
    assert standard[worst] == min(standard.values())
    assert [one.accounts for one in outcome.trainings if one.attack == worst] == [6, 3, 12]
    assert all(one.outcome.weights != outcome.clean.weights for one in outcome.trainings)


def test_robust_accuracy_falls_with_the_tier_and_with_more_attacks(outcome: TrainingDataOutcome) -> None:
    found = [outcome.robust_pairs(tier) for tier in ("low", "standard", "high")]  # type: ignore[arg-type]
    low, standard, high = (pairs.accuracy() for pairs in found if pairs is not None)
    assert outcome.clean is not None
    assert outcome.pairs(outcome.clean).accuracy() >= low >= standard >= high
    every = outcome.robust_pairs("standard", outcome.attacks_run)
    assert every is not None
    assert every.accuracy() <= standard


def test_no_poison_gives_the_same_weights_again(outcome: TrainingDataOutcome) -> None:
    checks = {check.name: check for check in outcome.checks}
    assert checks["no-poison-changes-nothing"].passed
    assert checks["random-profiles-lift-no-more"].passed
    assert "filter-keeps-most" not in checks


@pytest.mark.slow
def test_a_sweep_in_processes_finds_the_same_as_one_process(folder: Path, tmp_path: Path) -> None:
    spec = spec_of(folder, tmp_path / "sweep", poison_attacks=("coattails",))
    (record,) = run_sweep([spec], Watching(), LocalEngine())
    assert record.failure is None, record.failure
    assert not spec.workplace.exists()
    (found,) = record.poisoning
    (here,) = run_cell(replace(spec, out=tmp_path / "here")).poisoning
    assert timeless(found) == timeless(here)


def timeless(outcome: TrainingDataOutcome) -> dict[str, Any]:
    content = outcome.model_dump(mode="json", exclude={"seconds"})
    for trained in (content["clean"], *(one["outcome"] for one in content["trainings"])):
        del trained["seconds"]
    return content


@pytest.mark.slow
def test_a_killed_sweep_loses_the_training_in_flight_alone(folder: Path, tmp_path: Path) -> None:
    spec = spec_of(folder, tmp_path, poison_attacks=("coattails", "random", "copy"))
    with pytest.raises(KeyboardInterrupt):
        run_sweep([spec], Watching("copy"), LocalEngine())
    kept = spec.poisoning_path.read_text(encoding="utf-8").splitlines()[1:]
    assert sum("/standard/" in line for line in kept) == 2
    watcher = Watching()
    (record,) = run_sweep([spec], watcher, LocalEngine())
    assert record.failure is None, record.failure
    (found,) = record.poisoning
    assert not found.ranked
    assert found.chosen == found.attacks == ("coattails", "random", "copy")
    for one in found.trainings[:2]:  # times to the last bit: they were not done again
        assert any(repr(one.outcome.seconds) in line for line in kept)
    measured = [what for what in watcher.what if what.startswith("poisoning: measuring")]
    assert not any("the clean model" in what or "coattails, medium" in what for what in measured)


@pytest.mark.slow
def test_a_plugin_that_fails_on_poisoned_data_ends_its_cell_alone(
    folder: Path, tmp_path: Path, test_plugins: Path
) -> None:
    failing = spec_of(folder, tmp_path, defense="refuses-poison")
    good = spec_of(folder, tmp_path, poison_attacks=())
    records = {record.defense.name: record for record in run_sweep([good, failing], Watching(), LocalEngine())}
    failure = records["refuses-poison"].failure
    assert failure is not None
    assert failure.stage == "poisoning"
    assert failure.message.startswith("harmless new accounts: ")  # the first training with more users
    assert "too many users" in failure.message
    assert records["standard"].failure is None
    assert records["standard"].poisoning == ()


def test_a_text_model_is_not_trained_again(folder: Path, tmp_path: Path) -> None:
    spec = make_spec(folder / "tiny.toml", tmp_path, folder / "cache")
    (found,) = run_cell(spec).poisoning
    assert "reads text" in found.reason
    assert found.trainings == ()


def test_training_cannot_read_which_users_are_fake(folder: Path) -> None:
    from recgauntlet.core.files import poison, prepared
    from recgauntlet.runner.enclosure import training_fence

    spec = spec_of(folder, folder / "out")
    unreadable = training_fence(spec, spec.workplace / "retraining").unreadable
    assert {poison(folder / "cache"), prepared(folder / "cache"), spec.out / ".cells"} <= set(unreadable)


def trainings(monkeypatch: pytest.MonkeyPatch, most: int = 99) -> list[int]:
    """The number of training pairs of each training from now on; the one after `most` is interrupted."""
    sizes: list[int] = []
    genuine = poison_look.train_cell

    def counted(cell: Any, data: Any, *others: Any) -> Any:
        if len(sizes) == most:
            raise KeyboardInterrupt
        sizes.append(len(data.train))
        return genuine(cell, data, *others)

    monkeypatch.setattr(poison_look, "train_cell", counted)
    return sizes


def test_a_look_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert timeless(resumed) == timeless(cell.run(ATTACKS, Journal(), quiet))


def test_poison_lifts_the_tail(tmp_path: Path) -> None:
    found = make_cell(tmp_path).run(ATTACKS, Journal(), quiet)
    assert found.clean is not None
    before = np.nanmean(found.exposure(found.clean).win_rate()[:, found.places["tail"]])
    for one in found.trainings:
        assert np.nanmean(found.exposure(one.outcome).win_rate()[:, found.places["tail"]]) > before + 0.1


def test_a_refused_table_counts_as_no_poison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = RandomProfiles.accounts

    def too_long(self: Any, knowledge: Any, targets: Any, budget: Any, rng: Any) -> Any:
        return genuine(self, knowledge, targets, replace(budget, length=budget.length + 1), rng)

    monkeypatch.setattr(RandomProfiles, "accounts", too_long)
    found = make_cell(tmp_path).run([("random", "standard")], Journal(), quiet)
    (refused,) = found.trainings
    assert "items, " in refused.faults[0]
    assert refused.accounts == 0
    assert refused.outcome == found.clean


def test_what_a_filter_drops_is_counted_by_who_is_fake(tmp_path: Path) -> None:
    options = (("share", 0.2), ("neighbours", 3))
    cell = make_cell(tmp_path, defense="suspicious-users", defense_options=options)
    (poisoned,) = cell.run(ATTACKS[1:], Journal(), quiet).trainings
    file = cell.files.file("coattails", "high")
    data = cache.load(cell.files.path(file))
    assert data is not None
    users = set(data.train.users.tolist())
    left = set(open_cell(cell.cell.spec).defense_object.filter(data.train).users.tolist())
    dropped = users - left
    assert len(dropped) == int(0.2 * len(users))
    assert poisoned.dropped_fakes == len(dropped & set(file.fakes)) > 0
    assert poisoned.dropped_genuine == len(dropped - set(file.fakes))


def test_a_filter_that_keeps_what_it_knows_by_heart_fails_a_check(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way of a cell: harmless new accounts are drawn, trained with, and looked for in what is left."""
    _, data = poison_task.make_store(folder, poison_task.write_active_task)
    genuine = {pair.tobytes() for pair in np.column_stack([data.train.histories, data.train.clicked])}

    def known(self: Any, pairs: Any) -> Any:
        rows = [row.tobytes() in genuine for row in np.column_stack([pairs.histories, pairs.clicked])]
        return pairs.select(np.flatnonzero(rows))

    spec = spec_of(folder, tmp_path, defense="suspicious-users", poison_attacks=("coattails",))
    for filter_, passed in ((None, True), (known, False)):
        if filter_ is not None:
            monkeypatch.setattr(find_defense("suspicious-users").value, "filter", filter_)
        record = run_cell(replace(spec, out=tmp_path / str(passed)))
        assert record.failure is None, record.failure
        (found,) = record.poisoning
        checks = {check.name: check for check in found.checks}
        assert checks["newcomers-are-kept"].passed == passed, checks


def test_a_loss_of_known_users_alone_fails_a_check_beside_the_twin(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data = poison_task.make_store(folder, poison_task.write_active_task)
    fake = KnownSteps(Insight(data.train, data.user_count))
    spec = spec_of(folder, tmp_path, model="bpr-mf", defense="label-smoothing", poison_attacks=("coattails",))
    for name in ("step", "training_loss"):
        monkeypatch.setattr(find_defense("label-smoothing").value, name, getattr(fake, name))
    record = run_cell(spec)
    assert record.failure is None, record.failure
    checks = {check.name: check for check in record.poisoning[0].checks}
    assert not checks["newcomers-count-as-much"].passed, checks
    assert "newcomers-are-kept" not in checks


def test_users_whom_a_filter_leaves_nothing_are_counted_where_it_rewrites_histories(tmp_path: Path) -> None:
    cell = make_cell(tmp_path, defense="trimmed-raters", defense_options=(("share", 0.4),))
    (poisoned,) = cell.run(ATTACKS[1:], Journal(), quiet).trainings
    data = cache.load(cell.files.path(cell.files.file("coattails", "high")))
    assert data is not None
    left = open_cell(cell.cell.spec).defense_object.filter(data.train)
    assert poisoned.dropped_fakes + poisoned.dropped_genuine == len(np.setdiff1d(data.train.users, left.users)) > 0


def test_a_plan_counts_the_trainings_that_there_will_be(folder: Path, tmp_path: Path) -> None:
    spec = spec_of(folder, tmp_path)
    assert trainings_of(spec, 1.0) == len(NAMES) + 2
    assert trainings_of(spec, FAST) == 2 + 2
    assert trainings_of(replace(spec, poison_attacks=("copy",)), 1.0) == 1 + 2
    assert trainings_of(replace(spec, poison_attacks=()), 1.0) == 0
    text = replace(spec, model="nrms")
    assert trainings_of(text, 1.0) == 0
    assert trainings_of(replace(text, poison_attacks=("copy",)), 1.0) == 1 + 2


def test_a_record_with_other_attacks_stands_in_the_way(folder: Path, outcome: TrainingDataOutcome) -> None:
    spec = spec_of(folder, folder / "out")
    assert [cell.state for cell in plan([spec])] == ["done"]
    with pytest.raises(RecordError, match="other attacks on the training data"):
        plan([replace(spec, poison_attacks=("coattails",))])
    assert [cell.state for cell in plan([replace(spec, poison_attacks=())], overwrite=True)] == ["new"]
    defended = replace(spec, defense="history-purifier")
    assert [cell.state for cell in plan([replace(defended, poison_attacks=())])] == ["done", "new"], "the twin has more"
    with pytest.raises(RecordError, match="other attacks on the training data"):
        plan([replace(defended, poison_attacks=("coattails",))])


def test_a_named_attack_runs_under_the_threats_whose_budget_it_has(tmp_path: Path) -> None:
    card = find_task_or_card(str(poison_task.write_insertion_task(tmp_path))).card

    def ids(*chosen: str) -> list[str]:
        return [threat.id for threat in threats_of(card, chosen)]

    assert ids("coattails") == ["brushing"]
    assert ids("insert-early", "insert-random") == ["playlist-insertion"]
    assert ids("coattails", "insert-early") == ids("all") == ["brushing", "playlist-insertion"]
    assert ids() == []
    brushing, insertion = card.poisoning
    assert chosen_of(brushing, ["coattails", "insert-early"]) == ("coattails",)
    assert chosen_of(insertion, ["all"])[0] == "insert-random"


def test_a_training_is_not_told_which_attack_its_data_are_of(folder: Path, outcome: TrainingDataOutcome) -> None:
    spec = spec_of(folder, folder / "out")
    prepared = ready(find_task_or_card(spec.task), "standard", spec.source)
    (files,) = poisoned_files(find_task_or_card(spec.task), spec, prepared)
    jobs = [
        CellJob(spec, "training", prepared, now(), due=Retraining(outcome.threat, attack, tier, files.path(file)))
        for attack, tier, file in (
            ("coattails", "standard", files.file("coattails", "standard")),
            ("coattails", "high", files.file("coattails", "high")),
        )
    ]
    for job in jobs:
        given = job.as_given
        assert b"coattails" not in pickle.dumps(given)
        assert (given.data, given.place) == (job.data, job.place)
        assert replace(job, phase="measuring").as_given.due == job.due
    first, second = (job.as_given for job in jobs)
    assert first.due is not None
    assert second.due is not None
    assert replace(first.due, data=prepared) == replace(second.due, data=prepared)
