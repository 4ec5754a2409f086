"""Many cells, each in processes of its own.

A cell's process may crash, hang or be killed without taking the sweep down; a killed sweep starts again where it
stopped, because finished cells are found by their records.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core.card import Track
from recgauntlet.core.errors import OutputError, RecGauntletError, RecordError
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.core.types import Scalar
from recgauntlet.data import prepare
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.schema import Failure, RunRecord
from recgauntlet.records.validate import check_record
from recgauntlet.runner.cell import may_reuse
from recgauntlet.runner.processes import importable, spawn
from recgauntlet.runner.record import record_dead_cell
from recgauntlet.runner.sandbox.limits import Allowance, Meter, end_tree
from recgauntlet.runner.worker import Job, Phase, receive, work
from recgauntlet.training.device import now

LOOKS_EVERY = 0.2
"""Seconds between two looks at what cells take."""
_REMEDY = "look for code of the plugin that writes the record itself, and run the cell again"


class Watcher(Protocol):
    """Told what happens in a sweep; the command line draws bars from it."""

    def started(self, spec: CellSpec) -> None:
        """A cell's process has started."""

    def progress(self, spec: CellSpec, what: str, share: float) -> None:
        """A cell does `what` and is done to `share` (0 to 1)."""

    def finished(self, spec: CellSpec, record: RunRecord, seconds: float) -> None:
        """A cell's record is written."""


@dataclass
class _Running:
    """A cell in flight, in the process of its present phase."""

    job: Job
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    meter: Meter
    began: float
    opened: tuple[dict[str, Scalar], dict[str, Scalar]] = field(default_factory=lambda: ({}, {}))
    untrained: bool = False
    fault: Failure | None = None
    error: RecGauntletError | None = None

    @property
    def spec(self) -> CellSpec:
        """The cell."""
        return self.job.spec


def run_sweep(
    cells: Sequence[CellSpec],
    watcher: Watcher,
    *,
    workers: int = 1,
    allowance: Allowance | None = None,
    guarded: bool = True,
) -> tuple[RunRecord, ...]:
    """Run `cells`, at most `workers` at a time, twins before what needs them; the records in order of finishing.

    A cell is trained in one process, which never sees test data, and evaluated in another. Both are `guarded`: they
    write nowhere but in the cell's own directory, start no process, open no connection, and are ended where they take
    more than `allowance` (None: the machine's share).

    Raises
    ------
    OutputError
        Where a record cannot be written: nothing more is started. Finished records stay.
    KeyboardInterrupt
        The cells in flight are stopped; finished records stay.
    """
    allowance = allowance or Allowance.of_machine(workers)
    waiting = list(cells)
    running: list[_Running] = []
    records: list[RunRecord] = []
    places: dict[tuple[str, Track, SourceOptions], Path] = {}

    def conclude(spec: CellSpec, record: RunRecord, began: float) -> None:
        records.append(record)
        watcher.finished(spec, record, time.monotonic() - began)

    with importable(), _stopped_at_exit(running):
        while waiting or running:
            for spec in list(waiting):
                if len(running) >= workers:
                    break
                pending = {s.record_path for s in waiting} | {r.spec.record_path for r in running}
                if not spec.is_twin and spec.twin().record_path in pending:
                    continue
                waiting.remove(spec)
                watcher.started(spec)
                began = time.monotonic()
                try:
                    key = (spec.task, spec.track, spec.source)
                    places[key] = places.get(key) or _made_ready(spec)
                    job = _first_job(spec, places[key], guarded=guarded)
                except OutputError:
                    raise
                except RecGauntletError as error:
                    failure = Failure(kind=type(error).__name__, message=str(error), stage="data")
                    conclude(spec, _failed(spec, failure, {}, {}), began)
                    continue
                running.append(_start(job, allowance, began))
            ready = multiprocessing.connection.wait([r.pipe for r in running], timeout=LOOKS_EVERY)
            for cell in list(running):
                if (cell.pipe in ready and _listen(cell, watcher)) or (cell.pipe not in ready and _is_fine(cell)):
                    continue
                running.remove(cell)
                following = _follow(cell)
                if isinstance(following, Job):
                    running.append(_start(following, allowance, cell.began))
                else:
                    conclude(cell.spec, following, cell.began)
    return tuple(records)


def _made_ready(spec: CellSpec) -> Path:
    """Where the prepared data of a spec's track lies, made ready here: no cell could, behind its fence."""
    task = find_task_or_card(spec.task)
    if task.card.compares_items():
        prepare.item_vectors(prepare.prepare(task, spec.track, spec.source))
    return prepare.ready(task, spec.track, spec.source)


def _first_job(spec: CellSpec, prepared: Path, *, guarded: bool) -> Job:
    """Training, or the evaluation where weights are there to be reused."""
    _clean(spec)
    phase: Phase = "evaluation" if may_reuse(spec) else "training"
    return Job(spec, phase, prepared, now(), guarded)


def _clean(spec: CellSpec) -> None:
    """The cell's own directory, with nothing of an earlier run in it but its journal."""
    try:
        spec.workplace.mkdir(parents=True, exist_ok=True)
        for path in spec.workplace.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path != spec.journal_path:
                path.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror})",
            where=spec.out,
            remedy="free some disk space or choose another output directory (--out)",
        ) from error


def _start(job: Job, allowance: Allowance, began: float) -> _Running:
    process, mine = spawn(work, job)
    return _Running(job, process, mine, Meter(process.pid or 0, allowance), began)


def _listen(cell: _Running, watcher: Watcher) -> bool:
    """Take one message of a cell; false once it has no more to say, or has said what ends it."""
    message = receive(cell.pipe)
    if message is None:
        return False
    cell.meter.heard()
    if message.refused:
        cell.fault = Failure(kind="FenceError", message=message.refused, stage=cell.job.phase)
        return False
    cell.untrained = cell.untrained or message.untrained
    cell.opened = message.opened or cell.opened
    if message.error is not None:
        cell.error = message.error
    elif message.what:
        watcher.progress(cell.spec, message.what, message.share)
    return _is_fine(cell)


def _is_fine(cell: _Running) -> bool:
    """Whether a cell keeps to its limits."""
    excess = cell.meter.look()
    if excess is not None:
        cell.fault = Failure(kind=excess.kind, message=excess.message, stage=cell.job.phase)
    return excess is None


def _follow(cell: _Running) -> Job | RunRecord:
    """What comes after a process: the next phase, or the cell's record, now at its place."""
    if cell.fault is not None and cell.process.is_alive():
        end_tree(cell.process.pid or 0)
    cell.process.join()
    cell.meter.end_rest()
    cell.pipe.close()
    spec, job = cell.spec, cell.job
    if isinstance(cell.error, OutputError):
        raise cell.error
    if cell.fault is None and cell.error is None and cell.process.exitcode == 0:
        if cell.untrained:
            return replace(job, phase="training")
        if job.record.is_file():
            return _collected(cell)
        if job.phase == "training" and job.weights.is_file() and not job.weights.is_symlink():
            _move(job.weights, spec.checkpoint_path)
            return replace(job, phase="evaluation")
    return _failed(spec, cell.fault or _end_of(cell), *cell.opened)


def _end_of(cell: _Running) -> Failure:
    """How a process ended that left nothing."""
    code = cell.process.exitcode or 0
    message = (
        str(cell.error)
        if cell.error
        else f"the process was killed by signal {-code}; out of memory is the usual cause"
        if code < 0
        else f"the process ended with exit code {code}"
    )
    return Failure(kind=type(cell.error).__name__ if cell.error else "ProcessDied", message=message, stage="process")


def _collected(cell: _Running) -> RunRecord:
    """The record that a process left, checked to be this cell's and put at its place."""
    spec, job = cell.spec, cell.job
    try:
        if job.record.is_symlink():
            raise RecordError("is a link, not a file", where=job.record, remedy=_REMEDY)
        record = read_record(job.record)
        check_record(record, job.record)
        if record.status == "ok" and record.cost is None:
            raise RecordError("has no training cost", where=job.record, remedy=_REMEDY)
        if job.record.read_bytes() != to_bytes(record):
            raise RecordError("is not laid out as records are written", where=job.record, remedy=_REMEDY)
    except RecordError as error:
        return _failed(spec, Failure(kind="RecordError", message=error.problem, stage="process"), *cell.opened)
    said = (record.task.id, record.task.track, record.model.name, record.defense.name, record.seed, record.suite)
    if said != (spec.task_id, spec.track, spec.model, spec.defense, spec.seed, suite_ref()):
        return _failed(
            spec, Failure(kind="RecordError", message="it recorded another cell", stage="process"), *cell.opened
        )
    _move(job.record, spec.record_path)
    if record.status == "ok":
        spec.clear_workplace()
    return record


def _failed(spec: CellSpec, failure: Failure, model: dict[str, Scalar], defense: dict[str, Scalar]) -> RunRecord:
    record = record_dead_cell(spec, failure, model, defense)
    write_record(record, spec.record_path)
    return record


def _move(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror})",
            where=target,
            remedy="free some disk space or choose another output directory (--out)",
        ) from error


@contextlib.contextmanager
def _stopped_at_exit(running: list[_Running]) -> Iterator[None]:
    try:
        yield
    finally:
        for cell in running:
            if cell.process.is_alive():
                end_tree(cell.process.pid or 0)
            cell.process.join()
