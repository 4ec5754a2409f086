"""One tuning trial, in a separate process without access to the test period: a training, and one more for each poison
table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, FiniteFloat

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.files import write_atomically
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.types import Progress
from recgauntlet.data import cache as store
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.records.digest import to_bytes
from recgauntlet.runner.enclosure import enclose, training_fence
from recgauntlet.runner.messages import send, send_error
from recgauntlet.runner.record import precision_of
from recgauntlet.runner.tuning.objective import judge, judged_on, pairs_right, robust_to_poison
from recgauntlet.runner.tuning.poison import TuningPoison
from recgauntlet.runner.worker import begin
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.training.build import open_cell, train_cell
from recgauntlet.training.device import choose_device, describe
from recgauntlet.training.trainer import Trained
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
    poison: tuple[TuningPoison, ...] = ()
    """What the model is trained on again, by threat."""

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
    """Of the clean training; None where it failed."""
    commit: str = ""
    reason: str = ""


def try_apart(job: TrialJob, pipe: Connection) -> None:
    """Train and judge in this process; leave the result at its place."""
    progress, spec = begin(pipe), job.spec
    try:
        task = find_task_or_card(spec.task)
        data = store.load_training(job.prepared)
        poisoned = [[store.load_training(path) for path in each.files] for each in job.poison]
        parts = judged_on(data)
        world = AttackerKnowledge.of(task.card, parts)
        if job.guarded:
            enclose(spec.workplace, training_fence(spec), lambda what: send(pipe, refused=what))
        result = run_trial(job, data, poisoned, world, progress)
    except RecGauntletError as error:
        send_error(pipe, error)
    else:
        write_atomically(job.result, to_bytes(result))
    pipe.close()


def run_trial(
    job: TrialJob, data: TaskData, poisoned: Sequence[Sequence[TaskData]], world: AttackerKnowledge, progress: Progress
) -> TrialResult:
    """Train on `data` and judge on its validation pairs (`judged_on`), of which the attacker knows `world`; train again
    on the data `poisoned` under each threat of the job. Whatever a plugin raises makes the trial a failed one."""
    spec, cell = job.spec, open_cell(job.spec)
    device = choose_device(spec.device)
    torch.set_num_threads(spec.threads)
    precision = precision_of(spec.precision, device, cell.model)
    common = {"number": job.number, "values": job.values, "commit": describe(device, precision).commit}
    share_of_each = 0.7 / (1 + sum(map(len, poisoned)))
    done = 0

    def trained(on: TaskData) -> tuple[Recommender, Trained]:
        nonlocal done
        began, done = share_of_each * done, done + 1
        # a defense may keep something of a training, so that each gets a new one
        again = open_cell(spec)
        model, found = train_cell(
            again,
            on,
            device,
            precision,
            lambda what, share: progress(what, began + share_of_each * share),
            most_epochs=job.epochs,
        )
        return again.defense_object.wrap(model).eval().requires_grad_(False), found

    try:
        served, clean = trained(data)
        robust: dict[str, float] = {}
        for poison, tables in zip(job.poison, poisoned, strict=True):
            before = pairs_right(served, data, poison)
            found = robust_to_poison(before, [pairs_right(trained(on)[0], on, poison) for on in tables])
            robust |= {} if found is None else {poison.threat: found}
        judged = judge(
            served,
            cell.task.card,
            judged_on(data),
            spec.seed,
            world=world,
            progress=lambda what, share: progress(what, 0.7 + 0.3 * share),
        )
        judged = replace(judged, robust=judged.robust | robust)
    except Exception as error:
        return TrialResult(status="failed", reason=f"{type(error).__name__}: {error}"[:2000], **common)
    if not math.isfinite(judged.objective):
        return TrialResult(status="failed", reason="its objective is no number", **common)
    return TrialResult(
        status="ok",
        objective=judged.objective,
        seconds=clean.seconds,
        valid_auc=max(epoch.valid_auc for epoch in clean.epochs),
        **asdict(judged),
        **common,
    )
