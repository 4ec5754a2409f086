"""One cell of the benchmark: task x model x defense x seed, from the card to the record."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from recgauntlet.building import (
    OpenCell,
    belongs,
    checkpoint_info,
    find_twin,
    open_cell,
    train_cell,
    untrained,
)
from recgauntlet.card import TaskCard
from recgauntlet.checkpoint import CheckpointInfo, load_weights, read_info, save_checkpoint, weights_hash
from recgauntlet.cost import inference_latency
from recgauntlet.data.prepare import prepare
from recgauntlet.data.tables import TaskData
from recgauntlet.device import choose_device, describe, now
from recgauntlet.errors import OutputError, RecGauntletError
from recgauntlet.evaluation import Trial
from recgauntlet.gauntlet import Findings, run_gauntlet
from recgauntlet.journal import Journal
from recgauntlet.loading import load_cell, spec_of
from recgauntlet.plugins import Plugin
from recgauntlet.recommender import Recommender
from recgauntlet.record import Environment, Failure, RunRecord, TaskRef, TrainingCost, write_record
from recgauntlet.spec import CellSpec
from recgauntlet.suite import suite_ref
from recgauntlet.task import SourceOptions

Progress = Callable[[str, float], None]
TRAINING_SHARE = 0.6
"""Of a cell's progress; a guess that only the progress bar uses."""


@dataclass
class _Made:
    """How far a cell has come: a failed one reports its stage and as much as is known."""

    stage: str = "starting"
    data_fingerprint: str = ""
    parts: dict[str, Any] = field(default_factory=dict)


def run_cell(spec: CellSpec, progress: Progress = lambda what, share: None) -> RunRecord:
    """Train, evaluate and record one cell; writes the record and the weights, nothing else.

    A cell that fails is recorded with its error and returned with status "failed"; only errors that stop a record from
    being written (OutputError) and errors in the spec itself (PluginError, CardError) are raised.
    """
    started = now()
    cell = open_cell(spec)
    device = choose_device(spec.device)
    torch.set_num_threads(spec.threads)
    precision = _precision(spec.precision, device, cell.model)
    made, failure = _Made(), None
    try:
        _run(cell, made, device, precision, progress)
    except OutputError:
        raise
    except Exception as error:  # whatever a plugin raises ends this cell, not the sweep
        failure = Failure(kind=type(error).__name__, message=_in_words(error), stage=made.stage)
        made.parts = {}
    record = _record(cell, made, describe(device, precision), started, failure)
    write_record(record, spec.record_path)
    if failure is None:
        Journal(spec.journal_path).remove()
    return record


def describe_failed_cell(spec: CellSpec, failure: Failure) -> RunRecord:
    """The record of a cell whose process could not write its own."""
    cell = open_cell(spec)
    device = choose_device(spec.device)
    environment = describe(device, _precision(spec.precision, device, cell.model))
    return _record(cell, _Made(), environment, now(), failure)


def check_spec(spec: CellSpec) -> TaskCard:
    """The task's card, after looking up everything that the spec names.

    Raises
    ------
    PluginError, CardError, DeviceError
        Where a name, an option, the track or the device is wrong.
    """
    cell = open_cell(spec)
    choose_device(spec.device)
    cell.task.card.track(spec.track)
    return cell.task.card


def attack_checkpoint(
    path: Path,
    sources: Callable[[str], SourceOptions],
    *,
    task: str | None = None,
    twin: Path | None = None,
    device: str = "auto",
    threads: int = 1,
    progress: Progress = lambda what, share: None,
) -> RunRecord:
    """Send trained weights through the gauntlet: the card of a cell, training left out. Nothing is written.

    `sources` gives the source options of a task by name; `task` names another than the one trained for; `twin` holds
    undefended weights of the same model.

    Raises
    ------
    RecordError
        Where a checkpoint cannot be read, or was trained on other data.
    """
    started = now()
    loaded = load_cell(path, sources, task=task, device=device, threads=threads, progress=progress)
    cell, data, where = loaded.cell, loaded.data, loaded.device
    other = None
    if twin is not None:
        twin_info = read_info(twin)
        other_cell = open_cell(spec_of(twin_info, twin, task, sources, device, threads))
        other = untrained(other_cell, data, where)
        load_weights(other, twin)
        other.eval().requires_grad_(False)
    kept = _twin_directory(cell.spec)
    findings = run_gauntlet(
        loaded.served, cell.task.card, data, loaded.info.seed, twin=other, twin_directory=kept, progress=progress
    )
    made = _Made("done", data.fingerprint, _parts(findings) | {"weights_sha256": weights_hash(loaded.model)})
    return _record(cell, made, describe(where, "fp32"), started, None)


def _run(cell: OpenCell, made: _Made, device: torch.device, precision: str, progress: Progress) -> None:
    spec, card = cell.spec, cell.task.card
    made.stage = "data"
    progress("reading data", 0.0)
    data = prepare(cell.task, spec.track, spec.source)
    made.data_fingerprint = data.fingerprint
    made.stage = "training"
    model, info = _trained(cell, data, device, precision, _part(progress, 0.0, TRAINING_SHARE))
    made.stage = "twin"
    twin: Recommender | None = None
    twin_info: CheckpointInfo | None = None
    if not spec.is_twin:
        twin, twin_info = find_twin(cell, data, device, precision, _part(progress, TRAINING_SHARE, TRAINING_SHARE))
    made.stage = "serving"
    served = cell.defense_object.wrap(model)
    made.stage = "evaluation"
    weights = weights_hash(model)
    journal = Journal(spec.journal_path, _belonging(cell, data, weights))
    rest = _part(progress, TRAINING_SHARE, 1.0)
    findings = run_gauntlet(
        served, card, data, spec.seed, twin=twin, journal=journal, twin_directory=_twin_directory(spec), progress=rest
    )
    made.stage = "recording"
    made.parts = _parts(findings) | {
        "cost": _cost(info, served, findings.trial, device, twin_info),
        "epochs": info.epochs,
        "recipe": info.recipe,
        "weights_sha256": weights,
        "training_commit": info.commit,
    }


def _trained(
    cell: OpenCell, data: TaskData, device: torch.device, precision: str, progress: Progress
) -> tuple[Recommender, CheckpointInfo]:
    """The trained model, its weights saved: trained here, or as the checkpoint has it where an evaluation was
    interrupted or the spec asks for it."""
    path = cell.spec.checkpoint_path
    if (cell.spec.reuse_weights or Journal.left(cell.spec.journal_path)) and path.exists():
        info = read_info(path)
        model = untrained(cell, data, device)
        same_training = info.recipe == asdict(model.recipe) and info.precision == precision
        if same_training and belongs(info, cell, data):
            load_weights(model, path)
            return model.eval(), info
    model, trained = train_cell(cell, data, device, precision, progress)
    info = checkpoint_info(cell, trained, data, model.recipe, describe(device, precision))
    save_checkpoint(model, info, path)
    return model, info


def _twin_directory(spec: CellSpec) -> Path:
    """Where what fools the undefended twins is kept: beside the data, since it may hold the catalog's words."""
    return spec.source.cache / "twins"


def _belonging(cell: OpenCell, data: TaskData, weights: str) -> dict[str, str]:
    """What a journal's steps belong to: one change of any of it starts the evaluation anew."""
    return {
        "task": cell.task.card.fingerprint(cell.spec.track),
        "data": data.fingerprint,
        "suite": suite_ref().fingerprint,
        "weights": weights,
        "defense": cell.spec.defense,
        "seed": str(cell.spec.seed),
    }


def _parts(findings: Findings) -> dict[str, Any]:
    names = ("clean", "threats", "ranking", "promotion", "gates", "evidence")
    return {name: getattr(findings, name) for name in names}


def _part(progress: Progress, start: float, end: float) -> Progress:
    """Progress of a part that runs from `start` to `end` of the whole."""
    return lambda what, share: progress(what, start + (end - start) * share)


def _in_words(error: Exception) -> str:
    """The error for a record: file names without their directories, which are nobody else's business."""
    if isinstance(error, RecGauntletError):
        where = error.where and Path(error.where).name
        return str(type(error)(error.problem, where=where, field=error.field, remedy=error.remedy))
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__}: {error} (at {places})"


def _cost(
    info: CheckpointInfo, model: Recommender, trial: Trial, device: torch.device, twin: CheckpointInfo | None
) -> TrainingCost:
    users = trial.batch.users
    items = torch.arange(min(1000, len(trial.world.catalog)), device=device)
    return TrainingCost(
        seconds=info.seconds,
        steps=info.steps,
        forwards=info.forwards,
        backwards=info.backwards,
        flops=info.flops,
        peak_memory_bytes=info.peak_memory_bytes,
        parameters=sum(p.numel() for p in model.parameters()),
        # seconds of another machine say nothing about this one
        seconds_ratio=info.seconds / twin.seconds if twin and twin.processor == info.processor else None,
        flops_ratio=info.flops / twin.flops if twin and twin.flops else None,
        inference_ms_per_1000=inference_latency(model, users, items),
    )


def _precision(wanted: str, device: torch.device, model: Plugin) -> str:
    """`auto` is bf16 on CUDA for models that say they train well in it, fp32 everywhere else."""
    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" and model.value.trains_in_bf16 else "fp32"


def _record(cell: OpenCell, made: _Made, environment: Environment, started: str, failure: Failure | None) -> RunRecord:
    card, track = cell.task.card, cell.spec.track
    source = card.track(track).source
    return RunRecord(
        status="failed" if failure else "ok",
        task=TaskRef(
            id=card.id,
            version=card.version,
            track=track,
            fingerprint=card.fingerprint(track),
            data_fingerprint=made.data_fingerprint or card.track(track).fingerprint,
            simulated=source.simulated,
            redistributable=source.redistributable,
        ),
        model=cell.model.ref(cell.model_options),
        defense=cell.defense.ref(cell.defense_object.hyperparameters()),
        seed=cell.spec.seed,
        suite=suite_ref(),
        environment=environment,
        started=started,
        finished=now(),
        failure=failure,
        **made.parts,
    )
