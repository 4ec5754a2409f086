"""What runs in a cell's own process, inside its sandbox: training, which never sees test data, or the evaluation."""

from __future__ import annotations

import os
import threading
import time
import warnings
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, NamedTuple

from tqdm import tqdm

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.errors import DataError, PluginError, RecGauntletError
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.types import Progress
from recgauntlet.data import cache as store
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.runner.cell import check_spec, evaluate_apart, train_apart
from recgauntlet.runner.enclosure import enclose, lead_a_group, training_fence, use_scratch
from recgauntlet.runner.messages import send, send_error
from recgauntlet.runner.models import Models, ModelsHere
from recgauntlet.runner.poison_cell import measure_apart
from recgauntlet.runner.poisoning import PoisonSteps, Retraining
from recgauntlet.runner.record import twin_directory
from recgauntlet.runner.remote.cell import open_remote
from recgauntlet.runner.remote.host import Host, HostJob
from recgauntlet.runner.sandbox.audit_hook import Fence, raise_fence
from recgauntlet.runner.together import train_together
from recgauntlet.training.build import OpenCell, open_cell, open_trained
from recgauntlet.training.parallel import ALONE, PeerError, Team

Phase = Literal["training", "measuring", "evaluation"]


@dataclass(frozen=True)
class CellJob:
    """A phase of a cell. With `due`, training is on its poisoned data, or what is measured are its weights."""

    spec: CellSpec
    phase: Phase
    prepared: Path
    """The prepared data of the track."""
    started: str
    """When the cell began."""
    guarded: bool = True
    trained: bool = False
    """Whether the weights to be evaluated are those that a phase before this one left."""
    boxed: bool = False
    """Whether bubblewrap stands around the processes that run code of plugins."""
    is_remote: bool = False
    """Whether an evaluation needs code of plugins, which then runs in processes of its own."""
    due: Retraining | None = None

    @property
    def data(self) -> Path:
        """The prepared data that is trained on, or that the measured weights were trained on."""
        return self.prepared if self.due is None else self.due.data

    @property
    def as_given(self) -> CellJob:
        """The job as its process is given it: code that trains is not told of which attack its data are."""
        if self.due is None or self.phase != "training":
            return self
        return replace(self, due=replace(self.due, threat="", attack="", tier=RANKING_TIER))

    @property
    def place(self) -> Path:
        """Where the process may write: training on poisoned data not where its results are kept."""
        return self.spec.workplace / "retraining" if self.due and self.phase == "training" else self.spec.workplace

    @property
    def weights(self) -> Path:
        """Where training leaves the weights."""
        return self.place / "weights.safetensors"

    @property
    def poisoned_weights(self) -> Path:
        """Where weights are measured that were trained on poisoned data."""
        return self.spec.workplace / "poisoned.safetensors"

    @property
    def record(self) -> Path:
        """Where the process leaves the record."""
        return self.place / "record.json"

    @property
    def fence(self) -> Fence:
        """What the process may do with files."""
        if self.phase == "training":
            return training_fence(self.spec, self.place)
        return Fence((self.spec.workplace, twin_directory(self.spec.source)))


def work(job: CellJob, pipe: Connection) -> None:
    """Do a job in this process."""
    progress = begin(pipe)
    try:
        _train(job, pipe, progress) if job.phase == "training" else _judge(job, pipe, progress)
    except RecGauntletError as error:
        send_error(pipe, error)
    pipe.close()


def _train(job: CellJob, pipe: Connection, progress: Progress) -> None:
    spec = job.spec
    task, data = find_task_or_card(spec.task), store.load_training(job.data)

    def train(team: Team) -> None:
        place = job.place if team.is_first else job.place / f"process-{team.rank}"
        if job.guarded:
            enclose(place, job.fence, lambda what: send(pipe, refused=what))
        cell = open_cell(spec, task)
        if team.is_first:
            send(pipe, opened=cell.options)
        told = progress if team.is_first else lambda what, share: None
        train_apart(cell, data, job.started, job.weights, job.record, told, team)

    if spec.devices == 1:
        train(ALONE)
    else:
        train_together(spec, job.place, train, lambda error: _send_failure(pipe, error))


def _send_failure(pipe: Connection, error: Exception) -> None:
    """Report what ended a process that trains together with the one that writes the record."""
    if isinstance(error, RecGauntletError):
        send_error(pipe, error)
    elif not isinstance(error.__cause__, PeerError):  # the process that has ended says why
        where = "in one of the processes that trained the model together"
        send_error(pipe, PluginError(f"{error} {where}", remedy="mend the plugin, or leave --devices out"))


def _judge(job: CellJob, pipe: Connection, progress: Progress) -> None:
    """Attack the weights at the cell's place, or measure those of a training for poisoning. Code of plugins that this
    needs runs in other processes."""
    spec = job.spec

    def refuse(what: str) -> None:
        send(pipe, refused=what)

    def end(what: str) -> None:
        refuse(what)
        os._exit(1)

    if not spec.checkpoint_path.exists():
        send(pipe, untrained=True)
        return
    host = Host(HostJob(spec, job.data, job.guarded, job.boxed), end, forks=True) if job.is_remote else None
    task = find_task_or_card(spec.task)
    if job.guarded:
        enclose(spec.workplace, job.fence, refuse)
    opened: tuple[OpenCell, Models]
    weights = job.poisoned_weights if job.due else spec.checkpoint_path
    if host is None:
        opened = open_trained(spec, task, weights), ModelsHere(weights=weights)
    else:
        opened = open_remote(spec, task, host, weights)
    cell, models = opened
    send(pipe, opened=cell.options)
    found = _measure(job, cell, models, progress) if job.phase == "measuring" else None
    if found is None:
        found = evaluate_apart(cell, models, job.started, job.record, progress)
    if not found:
        send(pipe, untrained=True)
    if host is not None:
        host.close()


def _measure(job: CellJob, cell: OpenCell, models: Models, progress: Progress) -> bool:
    """Measure weights for poisoning; false where they are not of this cell."""
    steps = PoisonSteps(cell.task, job.spec, job.prepared)
    done, total = steps.count(steps.journal())
    progress(f"poisoning: measuring {job.due.title if job.due else 'the clean model'}", done / max(1, total))
    data = store.load(job.data)
    if data is None:
        raise DataError("the prepared data is gone", where=job.data, remedy="run the cell again")
    return measure_apart(cell, models, data, job.started, job.record, steps, job.due)


class LookUp(NamedTuple):
    """Specs to be looked up by a process that may write to `scratch`."""

    specs: tuple[CellSpec, ...]
    scratch: Path


def look_up(job: LookUp, pipe: Connection) -> None:
    """Find everything that the specs name, and send a message for each spec, or the first error."""
    lead_a_group()
    try:
        cards = [find_task_or_card(spec.task).card for spec in job.specs]
        use_scratch(job.scratch)
        raise_fence(Fence((job.scratch,)), lambda what: send(pipe, refused=what))
        for card, spec in zip(cards, job.specs, strict=True):
            cell = check_spec(spec)
            send(pipe, fingerprint=card.fingerprint(spec.track), opened=cell.options, defaults=cell.defaults)
    except RecGauntletError as error:
        send_error(pipe, error)
    pipe.close()


def begin(pipe: Connection) -> Progress:
    """Prepare a worker process; returns the function that reports its progress."""
    lead_a_group()
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
