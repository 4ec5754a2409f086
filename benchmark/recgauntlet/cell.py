"""One cell of the benchmark: task x model x defense x seed, from the card to the record."""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from recgauntlet.attack import Attack
from recgauntlet.card import TaskCard, Threat, Track
from recgauntlet.checkpoint import CheckpointInfo, load_weights, read_info, save_checkpoint, weights_hash
from recgauntlet.cost import inference_latency
from recgauntlet.data.own import find_task_or_card
from recgauntlet.data.prepare import item_vectors, prepare
from recgauntlet.data.tables import TaskData
from recgauntlet.defense import Defense
from recgauntlet.device import choose_device, describe, make_deterministic, peak_memory
from recgauntlet.errors import PluginError, RecGauntletError
from recgauntlet.evaluation import Trial, measure_clean, run_threats
from recgauntlet.gates import model_gates, threat_gates
from recgauntlet.plugins import Plugin, find_defense, find_model
from recgauntlet.recommender import Recommender, Scalar, constructor_defaults
from recgauntlet.record import Environment, Failure, PluginRef, RunRecord, TaskRef, TrainingCost, write_record
from recgauntlet.rng import Randomness, derive
from recgauntlet.suite import suite_ref, transfer_for
from recgauntlet.task import SourceOptions, Task
from recgauntlet.training import Trained, train
from recgauntlet.victim import Victim, embedding_scale
from recgauntlet.world import World

Progress = Callable[[str, float], None]
Options = tuple[tuple[str, Scalar], ...]
TWIN = "standard"
TRAINING_SHARE = 0.6
"""Of a cell's progress; a guess that only the progress bar uses."""


@dataclass(frozen=True)
class CellSpec:
    """What to run and where the record goes. Picklable, so that any executor can run it.

    `task` is a registered name or the path of a user's own card. `threads` is fixed, because the order of sums on the
    CPU depends on it: the same spec gives the same record on any number of cores.
    """

    task: str
    track: Track
    model: str
    defense: str
    seed: int
    out: Path
    source: SourceOptions
    device: str = "auto"
    precision: str = "auto"
    threads: int = 1
    model_options: Options = ()
    defense_options: Options = ()

    @property
    def name(self) -> str:
        """The cell's name in file names: unique in one results directory."""
        options = "".join(f"+{key}={value}" for key, value in (*self.model_options, *self.defense_options))
        return f"{self.model}-{self.defense}-{self.seed}{_file_safe(options)}"

    @property
    def task_id(self) -> str:
        """The task's id; of a user's own card, the file's stem."""
        return Path(self.task).stem if self.task.endswith(".toml") else self.task

    @property
    def record_path(self) -> Path:
        """Where the record is written."""
        return self.out / self.task_id / self.track / f"{self.name}.json"

    @property
    def checkpoint_path(self) -> Path:
        """Where the trained weights are kept."""
        return self.out / "checkpoints" / self.task_id / self.track / f"{self.name}.safetensors"

    def twin(self) -> CellSpec:
        """The undefended cell of the same task, model and seed."""
        return replace(self, defense=TWIN, defense_options=())

    @property
    def is_twin(self) -> bool:
        """Whether this is an undefended cell itself."""
        return self.defense == TWIN


def _file_safe(text: str) -> str:
    return "".join(c if c.isalnum() or c in "+=.-" else "_" for c in text)


@dataclass
class _Cell:
    """What a cell has made so far: a failed one reports as much of it as there is."""

    spec: CellSpec
    task: Task
    model_plugin: Plugin
    defense_plugin: Plugin
    defense: Defense
    model_options: dict[str, Scalar]
    stage: str = "starting"
    data: TaskData | None = None
    parts: dict[str, Any] = field(default_factory=dict)


def run_cell(spec: CellSpec, progress: Progress = lambda what, share: None) -> RunRecord:
    """Train, evaluate and record one cell; writes the record and the weights, nothing else.

    A cell that fails is recorded with its error and returned with status "failed"; only errors that stop a record from
    being written (OutputError) and errors in the spec itself (PluginError, CardError) are raised.
    """
    started = _now()
    cell = _open(spec)
    device = choose_device(spec.device)
    torch.set_num_threads(spec.threads)
    precision = _precision(spec.precision, device, cell.model_plugin)
    failure: Failure | None = None
    try:
        _run(cell, device, precision, progress)
    except Exception as error:  # whatever a plugin raises ends this cell, not the sweep
        message = str(error) if isinstance(error, RecGauntletError) else traceback.format_exc(limit=-3)
        failure = Failure(kind=type(error).__name__, message=message, stage=cell.stage)
        cell.parts = {}
    record = _record(cell, describe(device, precision), started, failure)
    write_record(record, spec.record_path)
    return record


def describe_failed_cell(spec: CellSpec, failure: Failure) -> RunRecord:
    """The record of a cell whose process could not write its own."""
    cell = _open(spec)
    device = choose_device(spec.device)
    return _record(cell, describe(device, _precision(spec.precision, device, cell.model_plugin)), _now(), failure)


def check_spec(spec: CellSpec) -> TaskCard:
    """The task's card, after looking up everything that the spec names.

    Raises
    ------
    PluginError, CardError, DeviceError
        Where a name, an option, the track or the device is wrong.
    """
    cell = _open(spec)
    choose_device(spec.device)
    cell.task.card.track(spec.track)
    return cell.task.card


def _open(spec: CellSpec) -> _Cell:
    task = find_task_or_card(spec.task)
    model, defense = find_model(spec.model), find_defense(spec.defense)
    options = _merged(model, spec.model_options)
    chosen = _merged(defense, spec.defense_options)
    return _Cell(spec, task, model, defense, defense.value(**chosen), options)


def _merged(plugin: Plugin, options: Options) -> dict[str, Scalar]:
    known = constructor_defaults(plugin.value)
    for name, value in options:
        if name not in known:
            raise PluginError(
                f"{plugin.name} has no option {name!r}",
                field=name,
                remedy=f"choose among: {', '.join(known) or 'none'}",
            )
        default = known[name]
        fits = isinstance(value, type(default)) or (isinstance(default, float) and isinstance(value, int))
        if default is not None and (not fits or isinstance(value, bool) != isinstance(default, bool)):
            raise PluginError(
                f"{plugin.name}: {value!r} is no {type(default).__name__}",
                field=name,
                remedy=f"give a {type(default).__name__}, for example {default!r}",
            )
        known[name] = value
    return known


def _run(cell: _Cell, device: torch.device, precision: str, progress: Progress) -> None:
    spec, card = cell.spec, cell.task.card
    cell.stage = "data"
    progress("reading data", 0.0)
    data = cell.data = prepare(cell.task, spec.track, spec.source)
    needs_vectors = any(threat.surface == "history" for threat in card.threats)
    world = World(data.catalog, item_vectors(data) if needs_vectors else None)
    cell.stage = "training"

    def training(what: str, share: float) -> None:
        progress(what, TRAINING_SHARE * share)

    model, trained = _train(spec, cell, data, device, precision, training)
    cell.stage = "serving"
    served = cell.defense.wrap(model)
    cell.stage = "twin"
    twin, twin_info = (None, None) if spec.is_twin else _twin(spec, cell, data, device, precision, progress)
    cell.stage = "evaluation"
    served.eval().requires_grad_(False)
    trial = Trial.of(served, data, world)
    rng = Randomness(spec.seed, "evaluation")

    twin_victim = None if twin is None else Victim(twin, world, embedding_scale(twin, data.catalog), trial.batch)

    def extra(threat: Threat) -> list[Attack]:
        return [] if twin_victim is None else [transfer_for(threat, twin_victim)]

    threats, evidence = run_threats(
        trial,
        card,
        rng,
        extra=extra,
        progress=lambda what, share: progress(what, TRAINING_SHARE + (0.95 - TRAINING_SHARE) * share),
    )
    progress("sanity gates", 0.95)
    gates = (*model_gates(trial), *threat_gates(trial, card, rng))
    cell.stage = "recording"
    cost = _cost(trained, served, trial, device, twin_info, spec)
    info = _info(cell, trained, data)
    save_checkpoint(model, info, spec.checkpoint_path)
    cell.parts = {
        "clean": measure_clean(trial, data),
        "threats": threats,
        "gates": gates,
        "cost": cost,
        "epochs": trained.epochs,
        "weights_sha256": weights_hash(model),
        "evidence": evidence,
    }
    progress("done", 1.0)


def build_model(
    plugin: Plugin, data: TaskData, token_length: int, options: dict[str, Scalar], seed: int
) -> Recommender:
    """An untrained model whose first weights depend on `seed` alone.

    Raises
    ------
    PluginError
        Where the constructor fails.
    """
    make_deterministic(derive(seed, f"weights/{plugin.name}"))
    try:
        model: Recommender = plugin.value(data.catalog, token_length=token_length, **options)
    except TypeError as error:
        raise PluginError(
            f"the model {plugin.name!r} cannot be built: {error}",
            field="__init__",
            remedy="take the catalog, a keyword token_length and keyword hyper-parameters with defaults",
        ) from error
    return model


def _train(
    spec: CellSpec, cell: _Cell, data: TaskData, device: torch.device, precision: str, progress: Progress
) -> tuple[Recommender, Trained]:
    length = cell.task.card.track(spec.track).token_length
    model = build_model(cell.model_plugin, data, length, cell.model_options, spec.seed).to(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    # the global generator drives dropout: the same stream under every defense
    make_deterministic(derive(spec.seed, "training"))
    rng = Randomness(spec.seed, "training")
    trained = train(model, cell.defense, data, rng, precision=precision, progress=progress)
    return model, trained


def _twin(
    spec: CellSpec, cell: _Cell, data: TaskData, device: torch.device, precision: str, progress: Progress
) -> tuple[Recommender, CheckpointInfo]:
    """The undefended twin: its weights as the twin's cell left them, or trained here where there are none."""
    twin_spec = spec.twin()
    path = twin_spec.checkpoint_path
    twin_cell = _open(twin_spec)
    twin_cell.data = data
    if path.exists() and (info := read_info(path)) and _belongs(info, twin_cell, data):
        length = cell.task.card.track(spec.track).token_length
        model = build_model(twin_cell.model_plugin, data, length, twin_cell.model_options, spec.seed).to(device)
        load_weights(model, path)
    else:
        progress("training the undefended twin, whose weights are not there", TRAINING_SHARE)
        model, trained = _train(twin_spec, twin_cell, data, device, precision, lambda what, share: None)
        info = _info(twin_cell, trained, data)
    model.eval().requires_grad_(False)
    return model, info


def _belongs(info: CheckpointInfo, cell: _Cell, data: TaskData) -> bool:
    return (
        info.task_fingerprint == cell.task.card.fingerprint(cell.spec.track)
        and info.data_fingerprint == data.fingerprint
        and info.model_options == cell.model_options
        and info.seed == cell.spec.seed
        and info.defense == cell.spec.defense
    )


def _info(cell: _Cell, trained: Trained, data: TaskData) -> CheckpointInfo:
    spec = cell.spec
    device = choose_device(spec.device)
    environment = describe(device, "")
    return CheckpointInfo(
        task=spec.task_id,
        track=spec.track,
        task_fingerprint=cell.task.card.fingerprint(spec.track),
        data_fingerprint=data.fingerprint,
        model=spec.model,
        model_options=cell.model_options,
        defense=spec.defense,
        defense_options=cell.defense.hyperparameters(),
        seed=spec.seed,
        seconds=trained.seconds,
        flops=trained.flops,
        processor=f"{environment.processor} / {environment.device} / {environment.threads}",
    )


def _cost(
    trained: Trained,
    model: Recommender,
    trial: Trial,
    device: torch.device,
    twin: CheckpointInfo | None,
    spec: CellSpec,
) -> TrainingCost:
    environment = describe(device, "")
    here = f"{environment.processor} / {environment.device} / {environment.threads}"
    users = trial.batch.users
    items = torch.arange(min(1000, len(trial.world.catalog)), device=device)
    return TrainingCost(
        seconds=trained.seconds,
        steps=trained.steps,
        forwards=trained.passes.forwards,
        backwards=trained.passes.backwards,
        flops=trained.flops,
        peak_memory_bytes=peak_memory(device),
        parameters=sum(p.numel() for p in model.parameters()),
        # seconds of another machine say nothing about this one
        seconds_ratio=trained.seconds / twin.seconds if twin and twin.processor == here else None,
        flops_ratio=trained.flops / twin.flops if twin and twin.flops else None,
        inference_ms_per_1000=inference_latency(model, users, items),
    )


def _precision(wanted: str, device: torch.device, model: Plugin) -> str:
    """`auto` is bf16 on CUDA for models that say they train well in it, fp32 everywhere else."""
    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" and model.value.trains_in_bf16 else "fp32"


def _record(cell: _Cell, environment: Environment, started: str, failure: Failure | None) -> RunRecord:
    return RunRecord(
        status="failed" if failure else "ok",
        task=_task_ref(cell),
        model=_plugin_ref(cell.model_plugin, cell.model_options),
        defense=_plugin_ref(cell.defense_plugin, cell.defense.hyperparameters()),
        seed=cell.spec.seed,
        suite=suite_ref(),
        environment=environment,
        started=started,
        finished=_now(),
        failure=failure,
        **cell.parts,
    )


def _task_ref(cell: _Cell) -> TaskRef:
    card, track = cell.task.card, cell.spec.track
    source = card.track(track).source
    return TaskRef(
        id=card.id,
        version=card.version,
        track=track,
        fingerprint=card.fingerprint(track),
        data_fingerprint=cell.data.fingerprint if cell.data else card.track(track).fingerprint,
        simulated=source.simulated,
        redistributable=source.redistributable,
    )


def _plugin_ref(plugin: Plugin, options: dict[str, Scalar]) -> PluginRef:
    return PluginRef(
        name=plugin.name,
        distribution=plugin.distribution,
        version=plugin.version,
        hyperparameters=options,
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
