"""Cells as tasks of a Ray cluster (https://docs.ray.io; `pip install 'recgauntlet[ray]'`).

Each task runs one cell on its node as `recgauntlet.runner.engine.LocalEngine` does, behind the same fence, in a
directory of that node. What a cell needs of others (its twin's record and weights) goes with it, and its own record and
weights come back, so that nodes need no common file system. Data is made ready once a node, in that node's cache. A
cell whose node is lost is started again on another.
"""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from recgauntlet.core.errors import DeviceError, RecordError
from recgauntlet.core.files import cache_root, write_atomically
from recgauntlet.core.spec import CellSpec
from recgauntlet.records.schema import Failure, RunRecord
from recgauntlet.runner import resources
from recgauntlet.runner.cell_processes import failed_cell, keep_record, read_left
from recgauntlet.runner.engine import LocalEngine
from recgauntlet.runner.processes import Watcher
from recgauntlet.runner.sandbox.bubblewrap import Sandbox
from recgauntlet.runner.sandbox.limits import Allowance
from recgauntlet.runner.sweep import run_sweep

Files = dict[str, bytes]
"""Contents of files by their path below a results directory."""
RETRIES = 3
"""How often a cell is started again whose node or process was lost."""


class RayEngine:
    """Runs cells on the cluster at `address` (empty: one that is started on this machine), at most `capacity` at a time
    (None: one a CPU of the cluster, as it is at the start).

    A cell asks for as many CPUs as it has threads, and for a GPU where its device is one ("auto" is not: Ray hides GPUs
    from tasks that ask for none). `seconds` and `memory` limit a cell where they are not 0; `guarded` and `sandbox` are
    those of `LocalEngine`.

    Raises
    ------
    DeviceError
        Where the block is entered, if Ray is not installed or the cluster does not answer.
    """

    def __init__(
        self,
        address: str = "",
        capacity: int | None = None,
        *,
        seconds: float = 0,
        memory: int = 0,
        guarded: bool = True,
        sandbox: Sandbox = "fence",
    ) -> None:
        self.capacity = capacity or 1
        self._asked = capacity
        self._address = address
        self._limits = (seconds, memory)
        self._guarded = guarded
        self._sandbox: Sandbox = sandbox
        self._running: set[Any] = set()
        self._over = False

    def __enter__(self) -> Self:
        self._ray = _installed_ray()
        try:
            _reach(self._address)
            self._ray.init(address=self._address or "local", include_dashboard=False, log_to_driver=False)
        except (OSError, RuntimeError, ValueError) as error:
            raise DeviceError(
                f"the Ray cluster does not answer ({str(error).splitlines()[0]})",
                field="--address",
                remedy="give the address of a running one (ray start --head prints it), or none to start one here",
            ) from error
        self.capacity = self._asked or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._threads = ThreadPoolExecutor(self.capacity)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        for reference in tuple(self._running):
            self._ray.cancel(reference, force=True)
        self._threads.shutdown(cancel_futures=True)
        self._ray.shutdown()

    def submit(self, spec: CellSpec, watcher: Watcher) -> Future[RunRecord]:
        """As of `Engine`. Nothing is told to `watcher` while the cell runs."""
        return self._threads.submit(self._run, spec)

    def _run(self, spec: CellSpec) -> RunRecord:
        needs = [spec.twin().record_path, spec.twin().checkpoint_path, spec.checkpoint_path]
        task = self._ray.remote(run_on_node).options(
            name=spec.title,
            num_cpus=spec.threads * spec.devices,
            num_gpus=spec.devices if spec.device.startswith("cuda") else 0,
            memory=self._limits[1],
            max_retries=RETRIES,
        )
        reference = task.remote(spec, _read(spec.out, needs), *self._limits, self._guarded, self._sandbox)
        self._running.add(reference)
        try:
            left: Files = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            if self._over:  # a cell that was stopped has not failed
                raise CancelledError from error
            return failed_cell(spec, Failure(kind=type(error).__name__, message=str(error)[:2000], stage="process"))
        finally:
            self._running.discard(reference)
        return _kept(left, spec)


def _kept(left: Files, spec: CellSpec) -> RunRecord:
    """Put what a node left of a cell at its place; the record is read as one that a process left."""
    arrived = spec.workplace / "record.json"
    try:
        write_atomically(arrived, left.get(_name(spec.record_path, spec.out), b""))
        record = read_left(arrived, spec)
    except RecordError as error:
        return failed_cell(spec, Failure(kind="RecordError", message=error.problem, stage="process"))
    weights = left.get(_name(spec.checkpoint_path, spec.out))
    if weights is not None:
        write_atomically(spec.checkpoint_path, weights)
    keep_record(arrived, record, spec)
    return record


def run_on_node(spec: CellSpec, files: Files, seconds: float, memory: int, guarded: bool, sandbox: Sandbox) -> Files:
    """Run one cell in a directory of its own, which holds `files` at the start; its record and, where it was trained,
    its weights. Data comes from the cache of this node (RECGAUNTLET_CACHE)."""
    with tempfile.TemporaryDirectory(prefix="recgauntlet-") as directory:
        out = Path(directory)
        for name, content in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_bytes(content)
        here = replace(spec, out=out, source=replace(spec.source, cache=cache_root()))
        side_by_side = max(1, resources.cpus() // (spec.threads * spec.devices))
        allowance = Allowance.of_machine(side_by_side, seconds=seconds, memory=memory)
        run_sweep([here], _Silent(), LocalEngine(allowance=allowance, guarded=guarded, sandbox=sandbox))
        return _read(out, [here.record_path, here.checkpoint_path])


def _read(root: Path, paths: Sequence[Path]) -> Files:
    """The contents of those of `paths` below `root` that exist."""
    return {_name(path, root): path.read_bytes() for path in paths if path.is_file()}


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _reach(address: str) -> None:
    """OSError where nothing listens at `HOST:PORT`: Ray itself would try for minutes."""
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=10).close()


def _installed_ray() -> Any:
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what Ray will do; it warns where it is not set
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise DeviceError(
            "Ray is not installed", field="--engine", remedy="pip install 'recgauntlet[ray]', on every node"
        ) from error
    return ray


class _Silent:
    """A watcher that shows nothing: a node has no terminal."""

    def started(self, name: str) -> None: ...

    def progress(self, name: str, what: str, share: float) -> None: ...

    def finished(self, name: str, result: str, failure: str) -> None: ...
