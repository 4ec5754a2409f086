"""One cell of the benchmark: task x model x defense x seed, from the card to the record."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core.card import TaskCard
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import OutputError, RecGauntletError
from recgauntlet.core.journal import Journal
from recgauntlet.core.plugins import Kind, Plugin, whose
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.core.types import Progress, Scalar, Surface
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.prepare import prepare
from recgauntlet.evaluation.evidence import with_inputs
from recgauntlet.evaluation.gauntlet import Findings, run_gauntlet
from recgauntlet.evaluation.robustness import Trial
from recgauntlet.records.io import write_record
from recgauntlet.records.schema import Environment, Failure, PluginRef, RunRecord, TaskRef, TrainingCost
from recgauntlet.runner.loading import load_cell, spec_of
from recgauntlet.training.build import (
    OpenCell,
    belongs,
    checkpoint_info,
    find_twin,
    open_cell,
    train_cell,
    untrained,
)
from recgauntlet.training.checkpoint import CheckpointInfo, load_weights, read_info, save_checkpoint, weights_hash
from recgauntlet.training.cost import inference_latency
from recgauntlet.training.device import choose_device, describe, now

TRAINING_SHARE = 0.6
"""Of a cell's progress; a guess that only the progress bar uses."""


@dataclass
class _Made:
    """How far a cell has come: a failed one reports its stage and as much as is known."""

    stage: str = "starting"
    data_fingerprint: str = ""
    parts: dict[str, Any] = field(default_factory=dict)


class UntrainedError(Exception):
    """The weights of a cell that is to be evaluated are not there, or are another cell's."""


def run_cell(spec: CellSpec, progress: Progress = lambda what, share: None) -> RunRecord:
    """Train, evaluate and record one cell in this process; writes the record and the weights, nothing else.

    A cell that fails is recorded with its error and returned with status "failed"; only errors that stop a record from
    being written (OutputError) and errors in the spec itself (PluginError, CardError) are raised. Nothing keeps the
    plugin's code from the rest of the machine here; a sweep does (`recgauntlet.runner.sweep`).
    """
    cell = open_cell(spec)

    def work(made: _Made, device: torch.device, precision: str) -> None:
        data = _data(cell, made, progress)
        model, info = _trained(cell, made, data, device, precision, _part(progress, 0.0, TRAINING_SHARE))
        _evaluate(cell, made, data, model, info, device, precision, progress)

    return _concluded(cell, work, now(), spec.record_path)


def train_apart(
    cell: OpenCell, data: TaskData, weights: Path, record: Path, started: str, progress: Progress
) -> RunRecord | None:
    """The first half of `run_cell`: train on `data`, whose test part may be empty, and write the weights to `weights`;
    where that fails, write the failed cell's record to `record` and return it."""

    def work(made: _Made, device: torch.device, precision: str) -> None:
        made.data_fingerprint, made.stage = data.fingerprint, "training"
        _train(cell, data, device, precision, weights, _part(progress, 0.0, TRAINING_SHARE))

    made, environment, failure = _tried(cell, work)
    if failure is None:
        return None
    failed = _record_of(cell, made, environment, started, failure)
    write_record(failed, record)
    return failed


def evaluate_apart(cell: OpenCell, record: Path, started: str, progress: Progress) -> RunRecord:
    """The second half of `run_cell`: attack the weights at the cell's place and write the record to `record`.

    Raises
    ------
    UntrainedError
        Where these weights are not there or not this cell's.
    """

    def work(made: _Made, device: torch.device, precision: str) -> None:
        data = _data(cell, made, progress)
        kept = _kept_weights(cell, data, device, precision)
        if kept is None:
            raise UntrainedError
        _evaluate(cell, made, data, *kept, device, precision, progress)

    return _concluded(cell, work, started, record)


def _concluded(cell: OpenCell, work: Callable[[_Made, torch.device, str], None], started: str, path: Path) -> RunRecord:
    made, environment, failure = _tried(cell, work)
    record = _record_of(cell, made, environment, started, failure)
    write_record(record, path)
    if failure is None:
        Journal(cell.spec.journal_path).remove()
    return record


def _tried(
    cell: OpenCell, work: Callable[[_Made, torch.device, str], None]
) -> tuple[_Made, Environment, Failure | None]:
    """What `work` made; where it failed, how."""
    device = choose_device(cell.spec.device)
    torch.set_num_threads(cell.spec.threads)
    precision = precision_of(cell.spec.precision, device, cell.model)
    made, failure = _Made(), None
    try:
        work(made, device, precision)
    except (OutputError, UntrainedError):
        raise
    except Exception as error:  # whatever a plugin raises ends this cell, not the sweep
        failure = Failure(kind=type(error).__name__, message=_in_words(error), stage=made.stage)
        made.parts = {}
    return made, describe(device, precision), failure


def describe_failed_cell(
    spec: CellSpec, failure: Failure, model: dict[str, Scalar], defense: dict[str, Scalar]
) -> RunRecord:
    """The record of a cell whose process could not write its own; nothing of its plugins is loaded. `model` and
    `defense` are their hyper-parameters, as far as they are known."""
    card = find_task_or_card(spec.task).card
    environment = describe(choose_device(spec.device), "fp32" if spec.precision == "auto" else spec.precision)
    model_ref = _unloaded("models", spec.model, model)
    defense_ref = _unloaded("defenses", spec.defense, defense)
    return _record(spec, card, model_ref, defense_ref, _Made(), environment, now(), failure)


def _unloaded(kind: Kind, name: str, hyperparameters: dict[str, Scalar]) -> PluginRef:
    distribution, version = whose(kind, name)
    return PluginRef(name=name, distribution=distribution, version=version, hyperparameters=hyperparameters)


def check_spec(spec: CellSpec) -> OpenCell:
    """The cell, after looking up everything that the spec names.

    Raises
    ------
    PluginError, CardError, DeviceError
        Where a name, an option, the track or the device is wrong.
    """
    cell = open_cell(spec)
    choose_device(spec.device)
    cell.task.card.track(spec.track)
    return cell


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
    made = _Made("done", data.fingerprint, _parts(findings, cell) | {"weights_sha256": weights_hash(loaded.model)})
    return _record_of(cell, made, describe(where, "fp32"), started, None)


def _data(cell: OpenCell, made: _Made, progress: Progress) -> TaskData:
    made.stage = "data"
    progress("reading data", 0.0)
    data = prepare(cell.task, cell.spec.track, cell.spec.source)
    made.data_fingerprint = data.fingerprint
    return data


def _evaluate(
    cell: OpenCell,
    made: _Made,
    data: TaskData,
    model: Recommender,
    info: CheckpointInfo,
    device: torch.device,
    precision: str,
    progress: Progress,
) -> None:
    spec = cell.spec
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
    kept = _twin_directory(spec)
    findings = run_gauntlet(
        served, cell.task.card, data, spec.seed, twin=twin, journal=journal, twin_directory=kept, progress=rest
    )
    made.stage = "recording"
    made.parts = _parts(findings, cell) | {
        "cost": _cost(info, served, findings.trial, device, twin_info),
        "epochs": info.epochs,
        "recipe": info.recipe,
        "weights_sha256": weights,
        "training_commit": info.commit,
    }


def _trained(
    cell: OpenCell, made: _Made, data: TaskData, device: torch.device, precision: str, progress: Progress
) -> tuple[Recommender, CheckpointInfo]:
    """The trained model, its weights saved: trained here, or as the checkpoint has it where an evaluation was
    interrupted or the spec asks for it."""
    made.stage = "training"
    if may_reuse(cell.spec) and (kept := _kept_weights(cell, data, device, precision)):
        return kept
    return _train(cell, data, device, precision, cell.spec.checkpoint_path, progress)


def _train(
    cell: OpenCell, data: TaskData, device: torch.device, precision: str, weights: Path, progress: Progress
) -> tuple[Recommender, CheckpointInfo]:
    """The cell's model, trained here, its weights saved as `weights`."""
    model, trained = train_cell(cell, data, device, precision, progress)
    info = checkpoint_info(cell, trained, data, model.recipe, describe(device, precision))
    save_checkpoint(model, info, weights)
    return model, info


def may_reuse(spec: CellSpec) -> bool:
    """Whether weights at the spec's place are to be attacked as they are, if they are this cell's."""
    return (spec.reuse_weights or Journal.left(spec.journal_path)) and spec.checkpoint_path.exists()


def _kept_weights(
    cell: OpenCell, data: TaskData, device: torch.device, precision: str
) -> tuple[Recommender, CheckpointInfo] | None:
    """The trained model as the cell's checkpoint has it; None where there is none of this training."""
    path = cell.spec.checkpoint_path
    if not path.exists():
        return None
    info = read_info(path)
    model = untrained(cell, data, device)
    if info.recipe != asdict(model.recipe) or info.precision != precision or not belongs(info, cell, data):
        return None
    load_weights(model, path)
    return model.eval(), info


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


def _parts(findings: Findings, cell: OpenCell) -> dict[str, Any]:
    names = ("clean", "threats", "ranking", "promotion", "certified", "gates", "evidence")
    parts = {name: getattr(findings, name) for name in names}
    card = cell.task.card
    if card.track(cell.spec.track).source.redistributable:
        surfaces: dict[str, Surface] = {threat.id: threat.surface for threat in card.threats}
        trial = findings.trial
        parts["evidence"] = with_inputs(findings.evidence, trial.world.catalog, trial.batch, surfaces)
    return parts


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


def precision_of(wanted: str, device: torch.device, model: Plugin) -> str:
    """`auto` is bf16 on CUDA for models that say they train well in it, fp32 everywhere else."""
    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" and model.value.trains_in_bf16 else "fp32"


def _record_of(
    cell: OpenCell, made: _Made, environment: Environment, started: str, failure: Failure | None
) -> RunRecord:
    model = PluginRef.of(cell.model, cell.model_options)
    defense = PluginRef.of(cell.defense, cell.defense_object.hyperparameters())
    return _record(cell.spec, cell.task.card, model, defense, made, environment, started, failure)


def _record(
    spec: CellSpec,
    card: TaskCard,
    model: PluginRef,
    defense: PluginRef,
    made: _Made,
    environment: Environment,
    started: str,
    failure: Failure | None,
) -> RunRecord:
    track = spec.track
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
        model=model,
        defense=defense,
        seed=spec.seed,
        suite=suite_ref(),
        environment=environment,
        started=started,
        finished=now(),
        failure=failure,
        **made.parts,
    )
