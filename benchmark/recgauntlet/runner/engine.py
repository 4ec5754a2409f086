"""What runs the cells of a sweep: processes of this machine (`LocalEngine`), or those of a cluster
(`recgauntlet.runner.ray_engine`)."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from recgauntlet.core.card import Track
from recgauntlet.core.errors import OutputError, RecGauntletError
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.records.schema import Failure, RunRecord
from recgauntlet.runner.cell_processes import failed_cell, fetch_weights, first_job, make_data_ready, run_cell
from recgauntlet.runner.processes import Child, ProcessPool, Watcher
from recgauntlet.runner.remote.cell import is_remote
from recgauntlet.runner.sandbox import bubblewrap
from recgauntlet.runner.sandbox.bubblewrap import Sandbox
from recgauntlet.runner.sandbox.limits import Allowance
from recgauntlet.runner.worker import CellJob, work


class Engine(Protocol):
    """A context manager that runs cells while its block lasts, and ends those in flight where it is left early."""

    @property
    def capacity(self) -> int:
        """How many cells it runs at a time."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def submit(self, spec: CellSpec, watcher: Watcher) -> Future[RunRecord]:
        """Start a cell whose twin is done. The result is its record, which is then at its place; an OutputError where
        that cannot be written."""
        ...


class LocalEngine:
    """Runs `capacity` cells at a time, each in processes of its own on this machine.

    A cell is trained in one process, which never sees test data, and evaluated in another; code of plugins that this
    needs runs in further ones (`recgauntlet.runner.remote`). All are `guarded`: they write nowhere but in the cell's
    own directory, start no process, open no connection, and are ended where they take more than `allowance` (None: the
    machine's share). `sandbox` says whether bubblewrap stands around the fence.
    """

    def __init__(
        self,
        capacity: int = 1,
        *,
        allowance: Allowance | None = None,
        guarded: bool = True,
        sandbox: Sandbox = "fence",
    ) -> None:
        self.capacity = capacity
        self._allowance = allowance or Allowance.of_machine(capacity)
        self._guarded = guarded
        self._boxed = guarded and bubblewrap.is_chosen(sandbox)
        self._pool = ProcessPool(capacity)
        self._prepared: dict[tuple[str, Track, SourceOptions], Path] = {}
        self._preparing = threading.Lock()

    def __enter__(self) -> Self:
        self._pool.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.__exit__(kind, error, trace)

    def submit(self, spec: CellSpec, watcher: Watcher) -> Future[RunRecord]:
        """As of `Engine`."""
        return self._pool.threads.submit(self._run, spec, watcher)

    def _run(self, spec: CellSpec, watcher: Watcher) -> RunRecord:
        def run(job: CellJob) -> Child[CellJob]:
            job = replace(job, boxed=self._boxed, is_remote=job.phase != "training" and is_remote(spec))
            box = bubblewrap.command(job.fence.writable) if self._boxed and not job.is_remote else ()
            child = Child(work, job.as_given, spec.title, self._allowance, box)
            child.job = job
            return self._pool.follow(child, lambda what, share: watcher.progress(spec.title, what, share))

        try:
            with self._preparing:
                key = (spec.task, spec.track, spec.source)
                prepared = self._prepared[key] = self._prepared.get(key) or make_data_ready(spec)
                fetch_weights(spec)
            return run_cell(first_job(spec, prepared, guarded=self._guarded), run)
        except OutputError:
            raise
        except RecGauntletError as error:
            return failed_cell(spec, Failure(kind=type(error).__name__, message=str(error), stage="data"))
