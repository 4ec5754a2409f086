"""Many cells, each in processes of its own.

A cell's process may crash, hang or be killed without taking the sweep down; a killed sweep starts again where it
stopped, because finished cells are found by their records.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core.card import Track
from recgauntlet.core.errors import OutputError, RecGauntletError, RecordError
from recgauntlet.core.files import check_cache
from recgauntlet.core.plugins import BUILT_IN, whose
from recgauntlet.core.recommender import find_model
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.data import prepare
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.language_model import smollm2
from recgauntlet.evaluation.naturalness import edits_texts
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.schema import Failure, RunRecord
from recgauntlet.records.validate import check_record
from recgauntlet.runner.cell import may_reuse
from recgauntlet.runner.messages import Pair
from recgauntlet.runner.poison_cell import retraining_failure
from recgauntlet.runner.poisoning import PoisonSteps
from recgauntlet.runner.processes import Child, Watcher, watch
from recgauntlet.runner.record import record_dead_cell
from recgauntlet.runner.remote.cell import is_remote
from recgauntlet.runner.sandbox import bubblewrap
from recgauntlet.runner.sandbox.bubblewrap import Sandbox
from recgauntlet.runner.sandbox.limits import Allowance
from recgauntlet.runner.worker import CellJob, work
from recgauntlet.training.build import merged_options, tuned_values
from recgauntlet.training.device import now


def run_sweep(
    cells: Sequence[CellSpec],
    watcher: Watcher,
    *,
    workers: int = 1,
    allowance: Allowance | None = None,
    guarded: bool = True,
    sandbox: Sandbox = "fence",
) -> tuple[RunRecord, ...]:
    """Run `cells`, at most `workers` at a time, twins before what needs them; the records in order of finishing.

    A cell is trained in one process, which never sees test data, and evaluated in another; code of plugins that this
    needs runs in further ones (`recgauntlet.runner.remote`). All are `guarded`: they write nowhere but in the cell's
    own directory, start no process, open no connection, and are ended where they take more than `allowance` (None: the
    machine's share). `sandbox` says whether bubblewrap stands around the fence.

    Raises
    ------
    OutputError
        Where a record cannot be written: nothing more is started. Finished records stay.
    KeyboardInterrupt
        The cells in flight are stopped; finished records stay.
    """
    allowance = allowance or Allowance.of_machine(workers)
    boxed = guarded and bubblewrap.is_chosen(sandbox)
    waiting = list(cells)
    following: list[CellJob] = []
    records: list[RunRecord] = []
    prepared: dict[tuple[str, Track, SourceOptions], Path] = {}
    began: dict[CellSpec, float] = {}

    def process_of(job: CellJob) -> Child[CellJob]:
        job = replace(job, boxed=boxed, is_remote=job.phase != "training" and is_remote(job.spec))
        box = bubblewrap.command(job.fence.writable) if boxed and not job.is_remote else ()
        child = Child(work, job.as_given, job.spec.title, allowance, box)
        child.job = job
        return child

    def start(running: list[Child[CellJob]]) -> Child[CellJob] | None:
        """The next phase of a cell, or a cell whose twin is done; a cell without data fails here."""
        if following:
            job = following.pop()
            return process_of(job)
        pending = {spec.record_path for spec in (*waiting, *(child.job.spec for child in running))}
        for spec in [spec for spec in waiting if spec.is_twin or spec.twin().record_path not in pending]:
            waiting.remove(spec)
            began[spec] = time.monotonic()
            watcher.started(spec.title)
            try:
                key = (spec.task, spec.track, spec.source)
                prepared[key] = prepared.get(key) or _make_ready(spec)
                fetch_weights(spec)
                _clean(spec, keeps_journals=True)
                job = CellJob(spec, "training", prepared[key], now(), guarded)
                return process_of(_after_training(job) if may_reuse(spec) else job)
            except OutputError:
                raise
            except RecGauntletError as error:
                conclude(spec, _failed(spec, Failure(kind=type(error).__name__, message=str(error), stage="data")))
        return None

    def conclude(spec: CellSpec, record: RunRecord) -> None:
        records.append(record)
        failure = f"{record.failure.stage}: {record.failure.message}" if record.failure else ""
        watcher.finished(spec.title, f"{time.monotonic() - began[spec]:.0f} s", failure)

    with contextlib.closing(watch(start, watcher, workers)) as ended:
        for child in ended:
            outcome = _outcome(child)
            if isinstance(outcome, CellJob):
                following.append(outcome)
            else:
                conclude(child.job.spec, outcome)
    return tuple(records)


def _make_ready(spec: CellSpec) -> Path:
    """Where the prepared data of a spec's track lies, made ready here: no cell could, behind its fence."""
    task = find_task_or_card(spec.task)
    check_cache(spec.source.cache)
    if task.card.compares_items():
        prepare.item_vectors(prepare.prepare(task, spec.track, spec.source))
    return prepare.ready(task, spec.track, spec.source)


def fetch_weights(spec: CellSpec) -> None:
    """Put what the spec's model is built from into the cache, where the model is an included one, and the language
    model that measures edits, where it is asked for: no cell could, behind its fence.

    Raises
    ------
    PluginError, DataError, OutputError
        Where a name or an option is wrong, or it cannot be had.
    """
    if spec.naturalness and edits_texts(find_task_or_card(spec.task).card):
        smollm2(spec.source.cache, offline=spec.source.offline)
    if whose("models", spec.model)[0] != BUILT_IN:
        return
    model = find_model(spec.model)
    options = merged_options(model, spec.model_options, tuned_values(model, "model", spec))
    model.value.fetch(options, offline=spec.source.offline)


def _clean(spec: CellSpec, *, keeps_journals: bool) -> None:
    """Make the cell's own directory, with nothing in it but the journals, where these are kept."""
    kept = (spec.journal_path, spec.poisoning_path) if keeps_journals else ()
    with _written(spec.out):
        spec.workplace.mkdir(parents=True, exist_ok=True)
        for path in spec.workplace.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path not in kept or path.is_symlink():
                path.unlink()


def _outcome(child: Child[CellJob]) -> CellJob | RunRecord:
    """What comes after a process: the next phase, or the cell's record, now at its place."""
    job, spec = child.job, child.job.spec
    if isinstance(child.error, OutputError):
        raise child.error
    if child.is_good:
        if child.untrained and job.trained:
            message = "training left weights that are not this cell's: a plugin changed the recipe or the options, or "
            message += "its source changed meanwhile; run the cell again"
            return _failed(spec, Failure(kind="RecordError", message=message, stage="training"), child.opened)
        if child.untrained:
            return replace(job, phase="training", due=None)
        if job.record.is_file():
            return _collected(job, child.opened)
        if job.phase == "measuring":
            _clean(spec, keeps_journals=True)
            following = _after_training(job)
            if (following.phase == "measuring", following.due) != (job.due is None, job.due):
                return following
            failure = Failure(kind="RecordError", message="measuring left no result", stage="poisoning")
            return _failed(spec, failure, child.opened)
        if job.phase == "training" and job.weights.is_file() and not job.weights.is_symlink():
            return _trained(job)
    kind, message = child.fault()
    failure = Failure(kind=kind, message=message, stage=job.phase if child.stopped else "process")
    if job.due is not None and job.phase == "training":
        failure = retraining_failure(job.due, failure)
    return _failed(spec, failure, child.opened)


def _trained(job: CellJob) -> CellJob:
    """What comes after a training, whose weights are put where no process of a plugin may write."""
    spec = job.spec
    if job.due is not None:
        _move(job.weights, job.poisoned_weights)
        shutil.rmtree(job.place)
        return replace(job, phase="measuring")
    _move(job.weights, spec.checkpoint_path)
    _clean(spec, keeps_journals=False)  # those that are there now were written by code of a plugin
    return _after_training(replace(job, trained=True))


def _after_training(job: CellJob) -> CellJob:
    """The next phase of a cell that has weights: what poisoning still needs, then the evaluation."""
    task = find_task_or_card(job.spec.task)
    steps = PoisonSteps(task, job.spec, job.prepared)
    if steps.files:
        journal = steps.journal()
        steps.make_ready(journal)
        if not steps.clean(journal):
            return replace(job, phase="measuring", due=None)
        due = steps.due(journal)
        if due is not None:
            return replace(job, phase="training", due=due)
    return replace(job, phase="evaluation", due=None)


def _collected(job: CellJob, opened: Pair) -> RunRecord:
    """The record that a process left, checked to be this cell's and put at its place."""
    spec = job.spec
    try:
        record = _read_left(job.record)
    except RecordError as error:
        return _failed(spec, Failure(kind="RecordError", message=error.problem, stage="process"), opened)
    found = (record.task.id, record.task.track, record.model.name, record.defense.name, record.seed, record.suite)
    if found != (spec.task_id, spec.track, spec.model, spec.defense, spec.seed, suite_ref()):
        failure = Failure(kind="RecordError", message="it recorded another cell", stage="process")
        return _failed(spec, failure, opened)
    if job.phase != "evaluation" and record.status == "ok":
        failure = Failure(kind="RecordError", message=f"{job.phase} recorded an evaluation", stage="process")
        return _failed(spec, failure, opened)
    if job.due is not None and job.phase == "training" and record.failure is not None:
        record = record.model_copy(update={"failure": retraining_failure(job.due, record.failure)}).sealed()
        job.record.unlink()
        write_record(record, spec.record_path)
        return record
    _move(job.record, spec.record_path)
    if record.status == "ok":
        spec.clear_workplace()
    return record


def _read_left(path: Path) -> RunRecord:
    """The record in `path`, byte for byte as a cell writes it."""
    remedy = "look for code of the plugin that writes the record itself, and run the cell again"
    if path.is_symlink():
        raise RecordError("is a link, not a file", where=path, remedy=remedy)
    record = read_record(path)
    check_record(record, path)
    if record.status == "ok" and record.cost is None:
        raise RecordError("has no training cost", where=path, remedy=remedy)
    if path.read_bytes() != to_bytes(record):
        raise RecordError("is not laid out as records are written", where=path, remedy=remedy)
    return record


def _failed(spec: CellSpec, failure: Failure, opened: Pair = ({}, {})) -> RunRecord:
    record = record_dead_cell(spec, failure, *opened)
    write_record(record, spec.record_path)
    return record


def _move(source: Path, target: Path) -> None:
    with _written(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)


@contextlib.contextmanager
def _written(where: Path) -> Iterator[None]:
    """Turn an OSError into an OutputError that names `where`."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror})",
            where=where,
            remedy="free some disk space or choose another output directory (--out)",
        ) from error
