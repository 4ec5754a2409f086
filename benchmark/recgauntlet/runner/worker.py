"""What runs in a cell's own process, inside its sandbox: training, which never sees test data, or the evaluation."""

from __future__ import annotations

import os
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from tqdm import tqdm

from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.files import downloads, prepared
from recgauntlet.core.spec import WORKPLACES, CellSpec
from recgauntlet.core.types import Progress
from recgauntlet.data import cache as store
from recgauntlet.data.custom import find_task_or_card, table_files
from recgauntlet.runner.cell import check_spec, evaluate_apart, train_apart
from recgauntlet.runner.messages import send, send_error
from recgauntlet.runner.record import twin_directory
from recgauntlet.runner.sandbox.audit_hook import Fence, raise_fence
from recgauntlet.training.build import open_cell, open_trained
from recgauntlet.training.device import describe

Phase = Literal["training", "evaluation"]
_CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUDA_CACHE_PATH", "MPLCONFIGDIR", "NUMBA_CACHE_DIR")
"""Environment variables that set where libraries keep what they compile."""
LARGEST_FILE = 8 * 2**30
"""Bytes that one file of a cell may hold."""


@dataclass(frozen=True)
class CellJob:
    """A phase of a cell."""

    spec: CellSpec
    phase: Phase
    prepared: Path
    """The prepared data of the track."""
    started: str
    """When the cell began."""
    guarded: bool = True
    trained: bool = False
    """Whether the weights to be evaluated are those that a phase before this one left."""

    @property
    def weights(self) -> Path:
        """Where training leaves the weights."""
        return self.spec.workplace / "weights.safetensors"

    @property
    def record(self) -> Path:
        """Where the process leaves the record."""
        return self.spec.workplace / "record.json"

    @property
    def fence(self) -> Fence:
        """What the process may do with files."""
        if self.phase == "training":
            return training_fence(self.spec)
        return Fence((self.spec.workplace, twin_directory(self.spec.source)))


def work(job: CellJob, pipe: Connection) -> None:
    """Do a job in this process."""
    progress, spec = begin(pipe), job.spec
    try:
        task = find_task_or_card(spec.task)
        data = store.load_training(job.prepared) if job.phase == "training" else None
        if job.guarded:
            enclose(spec, job.fence, pipe)
        cell = open_cell(spec, task) if data is not None else open_trained(spec, task)
        send(pipe, opened=cell.options)
        if data is not None:
            train_apart(cell, data, job.started, job.weights, job.record, progress)
        elif not evaluate_apart(cell, job.started, job.record, progress):
            send(pipe, untrained=True)
    except RecGauntletError as error:
        send_error(pipe, error)
    pipe.close()


class LookUp(NamedTuple):
    """Specs to be looked up by a process that may write to `scratch`."""

    specs: tuple[CellSpec, ...]
    scratch: Path


def look_up(job: LookUp, pipe: Connection) -> None:
    """Find everything that the specs name, and send a message for each spec, or the first error."""
    _lead_a_group()
    try:
        cards = [find_task_or_card(spec.task).card for spec in job.specs]
        _use_scratch(job.scratch)
        raise_fence(Fence((job.scratch,)), lambda what: send(pipe, refused=what))
        for card, spec in zip(cards, job.specs, strict=True):
            cell = check_spec(spec)
            send(pipe, fingerprint=card.fingerprint(spec.track), opened=cell.options, defaults=cell.defaults)
    except RecGauntletError as error:
        send_error(pipe, error)
    pipe.close()


def begin(pipe: Connection) -> Progress:
    """Prepare a worker process; returns the function that reports its progress."""
    _lead_a_group()
    tqdm.set_lock(threading.RLock())  # its own is a system semaphore, which a killed process leaves behind
    warnings.filterwarnings("ignore", category=FutureWarning)
    last = 0.0

    def progress(what: str, share: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < 0.1 and share < 1.0:
            return
        last = now
        try:
            send(pipe, what=what, share=min(1.0, max(0.0, share)))
        except OSError:  # the parent is gone: nobody waits for the result
            os._exit(1)

    return progress


def enclose(spec: CellSpec, fence: Fence, pipe: Connection) -> None:
    """Put this process behind `fence` before any code of a plugin runs, with its output and its temporary files in the
    cell's own directory."""
    describe(torch.device("cpu"), "fp32")  # starts processes (git), and keeps the result
    _limit_files()
    for path in fence.writable:
        path.mkdir(parents=True, exist_ok=True)
    _use_scratch(spec.workplace / "tmp")
    _redirect_output(spec.workplace / "output.txt")
    raise_fence(fence, lambda what: send(pipe, refused=what))


def training_fence(spec: CellSpec) -> Fence:
    """The fence of a process that may not read what holds labels of the test period."""
    return Fence((spec.workplace,), tuple(_paths_with_labels(spec)))


def _paths_with_labels(spec: CellSpec) -> Iterator[Path]:
    """What holds labels of the test period: prepared and raw data, and other cells' results."""
    cache, own = spec.source.cache, spec.source.directory
    yield from (prepared(cache), downloads(cache), twin_directory(spec.source))
    yield from (spec.out / spec.task_id, spec.out / "checkpoints", spec.out / WORKPLACES)
    if own is not None and own.is_dir():
        yield from (path for path in own.iterdir() if path.is_file())
    if spec.task.endswith(".toml"):
        yield from table_files(Path(spec.task), own)


def _use_scratch(scratch: Path) -> None:
    """Let temporary files, and what libraries compile, go to `scratch`."""
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    for name in _CACHES:
        os.environ[name] = str(scratch / name.lower())


def _lead_a_group() -> None:
    """Let this process be killed with all that it starts, at once."""
    if os.name == "posix" and os.getpgrp() != os.getpid():  # bubblewrap has done so
        os.setsid()


def _redirect_output(path: Path) -> None:
    """Send output to a file: printed by a plugin, it could control the terminal."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)


def _limit_files() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
