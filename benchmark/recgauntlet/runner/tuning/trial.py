"""One tuning trial, in a separate process without access to the test period."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, FiniteFloat

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.files import write_atomically
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.types import Progress
from recgauntlet.data import cache as store
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.records.digest import to_bytes
from recgauntlet.runner.enclosure import enclose, training_fence
from recgauntlet.runner.messages import send, send_error
from recgauntlet.runner.record import precision_of
from recgauntlet.runner.tuning.objective import judge, judged_on
from recgauntlet.runner.worker import begin
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.training.build import open_cell, train_cell
from recgauntlet.training.device import choose_device, describe
from recgauntlet.training.tuned import Value


@dataclass(frozen=True)
class TrialJob:
    """A trial."""

    spec: CellSpec
    """Its cell, with the trial's values among the options."""
    number: int
    values: dict[str, Value]
    epochs: int
    prepared: Path
    """The prepared data of the track."""
    guarded: bool = True

    @property
    def result(self) -> Path:
        """Where the process leaves its result."""
        return self.spec.workplace / "trial.json"


class TrialResult(BaseModel):
    """How a trial ended: its objective with its components, or why it failed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    number: int
    values: dict[str, Value]
    status: Literal["ok", "failed"]
    objective: FiniteFloat | None = None
    clean: FiniteFloat | None = None
    robust: dict[str, FiniteFloat] = {}
    one_sided: FiniteFloat | None = None
    valid_auc: FiniteFloat | None = None
    seconds: FiniteFloat | None = None
    """Of training; None where it failed."""
    commit: str = ""
    reason: str = ""


def try_apart(job: TrialJob, pipe: Connection) -> None:
    """Train and judge in this process; leave the result at its place."""
    progress, spec = begin(pipe), job.spec
    try:
        task = find_task_or_card(spec.task)
        data = store.load_training(job.prepared)
        parts = judged_on(data)
        world = AttackerKnowledge.of(task.card, parts)
        if job.guarded:
            enclose(spec.workplace, training_fence(spec), lambda what: send(pipe, refused=what))
        result = run_trial(job, data, parts, world, progress)
    except RecGauntletError as error:
        send_error(pipe, error)
    else:
        write_atomically(job.result, to_bytes(result))
    pipe.close()


def run_trial(
    job: TrialJob, data: TaskData, parts: TaskData, world: AttackerKnowledge, progress: Progress
) -> TrialResult:
    """Train on `data` and judge on `parts` (`judged_on`); whatever a plugin raises makes the trial a failed one."""
    spec = job.spec
    cell = open_cell(spec)
    device = choose_device(spec.device)
    torch.set_num_threads(spec.threads)
    precision = precision_of(spec.precision, device, cell.model)
    common = {"number": job.number, "values": job.values, "commit": describe(device, precision).commit}
    try:
        model, trained = train_cell(
            cell, data, device, precision, lambda what, share: progress(what, 0.7 * share), most_epochs=job.epochs
        )
        served = cell.defense_object.wrap(model)
        judged = judge(
            served.eval().requires_grad_(False),
            cell.task.card,
            parts,
            spec.seed,
            world=world,
            progress=lambda what, share: progress(what, 0.7 + 0.3 * share),
        )
    except Exception as error:
        return TrialResult(status="failed", reason=f"{type(error).__name__}: {error}"[:2000], **common)
    if not math.isfinite(judged.objective):
        return TrialResult(status="failed", reason="its objective is no number", **common)
    return TrialResult(
        status="ok",
        objective=judged.objective,
        seconds=trained.seconds,
        valid_auc=max(epoch.valid_auc for epoch in trained.epochs),
        **asdict(judged),
        **common,
    )
