"""A cell in processes of its own, phase by phase, from its data to its record.

A process may crash, hang or be killed: the cell then has a record of its failure.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core.errors import OutputError, RecordError
from recgauntlet.core.files import check_cache
from recgauntlet.core.plugins import BUILT_IN, whose
from recgauntlet.core.recommender import find_model
from recgauntlet.core.spec import CellSpec
from recgauntlet.data import prepare
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.language_model import smollm2
from recgauntlet.data.user_attributes import user_attributes
from recgauntlet.evaluation.naturalness import edits_texts
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.schema import Failure, RunRecord
from recgauntlet.records.validate import check_record
from recgauntlet.runner.cell import may_reuse
from recgauntlet.runner.messages import Pair
from recgauntlet.runner.poison_cell import retraining_failure
from recgauntlet.runner.poisoning import PoisonSteps
from recgauntlet.runner.processes import Child
from recgauntlet.runner.record import record_dead_cell
from recgauntlet.runner.worker import CellJob
from recgauntlet.training.build import merged_options, tuned_values
from recgauntlet.training.device import now


def run_cell(job: CellJob, run: Callable[[CellJob], Child[CellJob]]) -> RunRecord:
    """The record of a cell, which is then at its place, from its `first_job` on; `run` runs a job in a process and
    returns this once it has ended.

    Raises
    ------
    RecGauntletError
        Where a step between the processes fails; OutputError where something cannot be written.
    """
    outcome: CellJob | RunRecord = _after_training(job) if may_reuse(job.spec) else job
    while isinstance(outcome, CellJob):
        outcome = _outcome(run(outcome))
    return outcome


def first_job(spec: CellSpec, prepared: Path, *, guarded: bool) -> CellJob:
    """The training of a cell, whose directory is cleaned; `prepared` is where its data lies."""
    _clean(spec, keeps_journals=True)
    return CellJob(spec, "training", prepared, now(), guarded)


def make_data_ready(spec: CellSpec) -> Path:
    """Where the prepared data of a spec's track lies, made ready here: no cell could, behind its fence."""
    task = find_task_or_card(spec.task)
    check_cache(spec.source.cache)
    if task.card.compares_items():
        prepare.item_vectors(prepare.prepare(task, spec.track, spec.source))
    if task.user_attributes is not None:
        user_attributes(task, spec.track, prepare.prepare(task, spec.track, spec.source), spec.source)
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
            return failed_cell(spec, Failure(kind="RecordError", message=message, stage="training"), child.opened)
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
            return failed_cell(spec, failure, child.opened)
        if job.phase == "training" and job.weights.is_file() and not job.weights.is_symlink():
            return _trained(job)
    kind, message = child.fault()
    failure = Failure(kind=kind, message=message, stage=job.phase if child.stopped else "process")
    if job.due is not None and job.phase == "training":
        failure = retraining_failure(job.due, failure)
    return failed_cell(spec, failure, child.opened)


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
        record = read_left(job.record, spec)
    except RecordError as error:
        return failed_cell(spec, Failure(kind="RecordError", message=error.problem, stage="process"), opened)
    if job.phase != "evaluation" and record.status == "ok":
        failure = Failure(kind="RecordError", message=f"{job.phase} recorded an evaluation", stage="process")
        return failed_cell(spec, failure, opened)
    if job.due is not None and job.phase == "training" and record.failure is not None:
        record = record.model_copy(update={"failure": retraining_failure(job.due, record.failure)}).sealed()
        job.record.unlink()
        write_record(record, spec.record_path)
        return record
    keep_record(job.record, record, spec)
    return record


def keep_record(path: Path, record: RunRecord, spec: CellSpec) -> None:
    """Move the `record` that was read from `path` to the cell's place."""
    _move(path, spec.record_path)
    if record.status == "ok":
        spec.clear_workplace()


def read_left(path: Path, spec: CellSpec) -> RunRecord:
    """The record that the processes of a cell left in `path`.

    Raises
    ------
    RecordError
        Where it is not byte for byte as a cell writes it, or is of another cell.
    """
    remedy = "look for code of the plugin that writes the record itself, and run the cell again"
    if path.is_symlink():
        raise RecordError("is a link, not a file", where=path, remedy=remedy)
    record = read_record(path)
    check_record(record, path)
    if record.status == "ok" and record.cost is None:
        raise RecordError("has no training cost", where=path, remedy=remedy)
    if path.read_bytes() != to_bytes(record):
        raise RecordError("is not laid out as records are written", where=path, remedy=remedy)
    found = (record.task.id, record.task.track, record.model.name, record.defense.name, record.seed, record.suite)
    if found != (spec.task_id, spec.track, spec.model, spec.defense, spec.seed, suite_ref()):
        raise RecordError("is of another cell, or another version of the suite", where=path, remedy=remedy)
    return record


def failed_cell(spec: CellSpec, failure: Failure, opened: Pair = ({}, {})) -> RunRecord:
    """The record of a cell that failed, which is then at its place."""
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
