"""Many cells: a plan of what there is to do, then each cell in a process of its own.

A cell's process may crash, hang or be killed without taking the sweep down; a killed sweep starts again where it
stopped, because finished cells are found by their records.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.process
import os
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Protocol

from recgauntlet.cell import check_spec, describe_failed_cell, run_cell
from recgauntlet.errors import CardError, OutputError, RecGauntletError, RecordError
from recgauntlet.record import Failure, RunRecord, read_record, write_record
from recgauntlet.spec import CellSpec
from recgauntlet.suite import suite_ref

State = Literal["new", "done", "failed before"]


@dataclass(frozen=True)
class Planned:
    """A cell and what is known of it before the sweep; `reason` says why an unasked cell is in the plan."""

    spec: CellSpec
    state: State
    reason: str = ""


def plan(specs: Sequence[CellSpec], *, overwrite: bool = False) -> tuple[Planned, ...]:
    """The cells of `specs` and the undefended twins that they need, twins first.

    Raises
    ------
    PluginError, CardError, DeviceError
        Where a spec names something wrong.
    RecordError
        Where a record stands in the way that is broken, or was made under another card, suite or set of options,
        unless `overwrite`.
    """
    asked: dict[Path, CellSpec] = {}
    for spec in specs:
        first = asked.setdefault(spec.record_path, spec)
        if first.task != spec.task:
            raise CardError(
                f"has the file name of {first.task}, so their records would replace each other",
                where=spec.task,
                field="--task",
                remedy="rename one of the two cards, or run them into different directories (--out)",
            )
    twins = {spec.twin().record_path: spec.twin() for spec in specs if not spec.is_twin}
    ordered = [*(s for s in asked.values() if s.is_twin)]
    ordered += [twin for path, twin in twins.items() if path not in asked]
    ordered += [s for s in asked.values() if not s.is_twin]
    planned = []
    for spec in ordered:
        fingerprint = check_spec(spec).fingerprint(spec.track)
        reason = "" if spec.record_path in asked else "the undefended twin that the others are compared with"
        planned.append(Planned(spec, _state(spec, fingerprint, overwrite), reason))
    return tuple(planned)


def _state(spec: CellSpec, fingerprint: str, overwrite: bool) -> State:
    path = spec.record_path
    if overwrite or not path.exists():
        return "new"
    record = read_record(path)
    if record.status == "failed":
        return "failed before"
    for name, found, wanted in (
        ("task.fingerprint", record.task.fingerprint, fingerprint),
        ("suite.fingerprint", record.suite.fingerprint, suite_ref().fingerprint),
    ):
        if found != wanted:
            raise RecordError(
                "was made under another version of the task or the attack suite; it is kept",
                where=path,
                field=name,
                remedy="write to another directory (--out), or replace the old records (--overwrite)",
            )
    return "done"


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
    spec: CellSpec
    process: multiprocessing.process.BaseProcess
    pipe: Connection
    started: float
    error: RecGauntletError | None = None


def run_sweep(cells: Sequence[CellSpec], watcher: Watcher, *, workers: int = 1) -> tuple[RunRecord, ...]:
    """Run `cells`, at most `workers` at a time, twins before what needs them; the records in order of finishing.

    Raises
    ------
    OutputError
        Where a record cannot be written: nothing more is started. Finished records stay.
    KeyboardInterrupt
        The cells in flight are stopped; finished records stay.
    """
    waiting = list(cells)
    running: list[_Running] = []
    records: list[RunRecord] = []
    with _importable(), _stopped_at_exit(running):
        while waiting or running:
            for spec in list(waiting):
                if len(running) >= workers:
                    break
                pending = {s.record_path for s in waiting} | {r.spec.record_path for r in running}
                if spec.is_twin or spec.twin().record_path not in pending:
                    waiting.remove(spec)
                    running.append(_start(spec))
                    watcher.started(spec)
            ready = multiprocessing.connection.wait([r.pipe for r in running], timeout=1.0)
            for cell in [r for r in running if r.pipe in ready]:
                if _listen(cell, watcher):
                    continue
                running.remove(cell)
                record = _conclude(cell)
                records.append(record)
                watcher.finished(cell.spec, record, time.monotonic() - cell.started)
    return tuple(records)


def _start(spec: CellSpec) -> _Running:
    context: Any = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(["recgauntlet.cell", "recgauntlet_baselines", "transformers", "datasets"])
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(spec, theirs), daemon=True)
    process.start()
    theirs.close()
    return _Running(spec, process, mine, time.monotonic())


def _work(spec: CellSpec, pipe: Connection) -> None:
    """Runs in the cell's own process."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    last = [0.0]

    def progress(what: str, share: float) -> None:
        now = time.monotonic()
        if now - last[0] < 0.1 and share < 1.0:
            return
        last[0] = now
        try:
            pipe.send((what, share))
        except OSError:  # the sweep is gone: what it cannot collect need not be computed
            os._exit(1)

    try:
        run_cell(spec, progress)
    except RecGauntletError as error:
        pipe.send(error)
    pipe.close()


def _listen(cell: _Running, watcher: Watcher) -> bool:
    """Take one message of a cell; false once it has no more to say."""
    try:
        message = cell.pipe.recv()
    except (EOFError, OSError):
        return False
    if isinstance(message, RecGauntletError):
        cell.error = message
    else:
        watcher.progress(cell.spec, *message)
    return True


def _conclude(cell: _Running) -> RunRecord:
    """The record that a finished process left, or one that says how the process ended."""
    cell.process.join()
    cell.pipe.close()
    if isinstance(cell.error, OutputError):
        raise cell.error
    if cell.process.exitcode == 0 and cell.error is None:
        return read_record(cell.spec.record_path)
    code = cell.process.exitcode or 0
    message = (
        str(cell.error)
        if cell.error
        else f"the process was killed by signal {-code}; out of memory is the usual cause"
        if code < 0
        else f"the process ended with exit code {code}"
    )
    kind = type(cell.error).__name__ if cell.error else "ProcessDied"
    record = describe_failed_cell(cell.spec, Failure(kind=kind, message=message, stage="process"))
    write_record(record, cell.spec.record_path)
    return record


@contextlib.contextmanager
def _stopped_at_exit(running: list[_Running]) -> Iterator[None]:
    try:
        yield
    finally:
        for cell in running:
            cell.process.terminate()
        for cell in running:
            cell.process.join(5)
            if cell.process.is_alive():  # a plugin may have turned the first signal off
                cell.process.kill()
                cell.process.join()


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """Children do not need the parent's main module; a console script's could run twice."""
    main = sys.modules["__main__"]
    spec, file = getattr(main, "__spec__", None), getattr(main, "__file__", None)
    try:
        main.__spec__ = None
        if file is not None:
            del main.__file__
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file
