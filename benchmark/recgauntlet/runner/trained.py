"""The gauntlet for models that are trained already: weights in a file, or a model object in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from recgauntlet.core.card import Track
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import PluginError, RecordError
from recgauntlet.core.files import cache_root
from recgauntlet.core.plugins import Plugin
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.spec import TWIN, CellSpec
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.core.types import Progress, Scalar
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.prepare import prepare
from recgauntlet.data.prepare import ready as prepared_track
from recgauntlet.data.user_attributes import user_attributes
from recgauntlet.data.windows import windowed
from recgauntlet.evaluation.gauntlet import run_gauntlet
from recgauntlet.records.references import PluginRef
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.record import Header, Machine, cost_of, make_record, twin_directory
from recgauntlet.runner.remote.cell import open_remote
from recgauntlet.runner.remote.host import WORKS, Host, HostJob
from recgauntlet.training.build import OpenCell, needs_plugins, open_cell, untrained
from recgauntlet.training.checkpoint import CheckpointInfo, load_weights, read_info, weights_hash
from recgauntlet.training.device import choose_device, describe, now

Sources = Callable[[str], SourceOptions]
"""The source options of a task by its name."""


def _ignore(what: str, share: float) -> None:
    """Progress that nobody follows."""


@dataclass(frozen=True)
class Setup:
    """Where the data of a checkpoint comes from, and what it is evaluated on."""

    sources: Sources
    task: str | None = None
    """Another task than the one trained for, or the path of a user's own card."""
    device: str = "auto"
    threads: int = 1

    def spec_of(self, info: CheckpointInfo, path: Path) -> CellSpec:
        """The cell that the checkpoint at `path` belongs to."""
        name = self.task or info.task
        return CellSpec(
            task=name,
            track=info.track,
            model=info.model,
            defense=info.defense,
            seed=info.seed,
            out=path.parent,
            source=self.sources(name),
            device=self.device,
            threads=self.threads,
            model_options=tuple(sorted(info.model_options.items())),
            defense_options=tuple(sorted(info.defense_options.items())),
        )


@dataclass(frozen=True)
class Loaded:
    """A checkpoint with the cell that it belongs to."""

    info: CheckpointInfo
    cell: OpenCell
    data: TaskData
    weights: str
    """The hash of the trained weights."""
    served: Recommender
    """What the cell's defense makes of the model with these weights for inference."""
    machine: Machine


def evaluate(
    model: Recommender,
    task: str = "video-watch",
    *,
    track: Track = "standard",
    seed: int = 0,
    twin: Recommender | None = None,
    defense: str = TWIN,
    model_options: Mapping[str, Scalar] | None = None,
    source: SourceOptions | None = None,
    device: str = "auto",
    progress: Progress = _ignore,
) -> RunRecord:
    """Send a trained model through the gauntlet of a task; the record, which is not written.

    The model's class needs no registration. Train it on the data of `load_data` with the same task and track.

    Parameters
    ----------
    model
        Trained, as it is served. It is moved to `device`, set to evaluation mode and frozen.
    task
        The name of an installed task, or the path of a card of your own (.toml).
    track
        "standard" (real data) or "demo" (small).
    seed
        Of the attacks, and as the record states it.
    twin
        The same model trained without a defense: inputs that fool it are tried on `model` too.
    defense
        The name that the record gives to the defense that `model` was trained with, "none" for none; it is not run.
    model_options
        Hyper-parameters that the record repeats. [the defaults of the class's constructor]
    source
        Where the data come from. [downloads into the cache]

    Raises
    ------
    PluginError, CardError, DataError, DeviceError
        Where the model is not a Recommender of this task's catalog, or the task, data or device cannot be used.
    """
    started = now()
    data = load_data(task, track, source=source)
    for name, given in (("model", model), ("twin", twin)):
        if given is not None and not (isinstance(given, Recommender) and given.catalog.ids == data.catalog.ids):
            raise PluginError(
                f"{type(given).__name__} is not a Recommender over the {len(data.catalog)} items of {task} ({track})",
                field=name,
                remedy=f"build it from recgauntlet.load_data({task!r}, {track!r}).catalog",
            )
    where = choose_device(device)
    card = find_task_or_card(task).card
    spec = CellSpec(task, track, type(model).__name__, defense, seed, Path(), _source(source))
    result = run_gauntlet(
        model.to(where), card, data, seed, twin=twin.to(where) if twin is not None else None, progress=progress
    )
    attributes = user_attributes(find_task_or_card(task), track, data, _source(source))
    options = dict(model_options) if model_options is not None else type(model).hyperparameters()
    header = Header(
        spec,
        card,
        PluginRef.of(Plugin(spec.model, type(model), "", ""), options),
        PluginRef(name=spec.defense, distribution="", version="", hyperparameters={}),
        describe(where, "fp32"),
        started,
    )
    return make_record(header, data, result=result, weights=weights_hash(model), attributes=attributes)


def load_data(task: str = "video-watch", track: Track = "standard", *, source: SourceOptions | None = None) -> TaskData:
    """The catalog and the examples of a task's track: what a model for `evaluate` is trained on.

    Raises
    ------
    CardError, DataError
        Where there is no such task or track, or its data cannot be fetched or read.
    """
    return prepare(find_task_or_card(task), track, _source(source))


def attack_checkpoint(path: Path, setup: Setup, twin: Path | None = None, *, progress: Progress = _ignore) -> RunRecord:
    """Send trained weights through the gauntlet: the record of their cell, without what training took where `setup`
    names a task of other data. Nothing is written.

    `twin` holds undefended weights of the same model, which what training cost is compared with too.

    Raises
    ------
    RecordError
        Where a checkpoint cannot be read, or was trained on other data.
    """
    loaded = load_cell(path, setup, progress=progress)
    cell, data, machine = loaded.cell, loaded.data, loaded.machine
    other, plain = None, None
    if twin is not None:
        plain = read_info(twin)
        other = untrained(open_cell(setup.spec_of(plain, twin)), data, machine.device)
        load_weights(other, twin)
    result = run_gauntlet(
        loaded.served,
        cell.task.card,
        data,
        loaded.info.seed,
        twin=other,
        twin_directory=twin_directory(cell.spec.source),
        progress=progress,
    )
    header = Header.of(cell, machine, loaded.info)
    is_own = data.fingerprint == loaded.info.data_fingerprint  # else what training took is no cost of this task
    return make_record(
        header,
        data,
        result=result,
        weights=loaded.weights,
        info=loaded.info if is_own else None,
        cost=cost_of(loaded.info, loaded.served, result.trial, machine.device, plain) if is_own else None,
        attributes=user_attributes(cell.task, cell.spec.track, data, cell.spec.source),
    )


def load_cell(path: Path, setup: Setup, *, host: Host | None = None, progress: Progress = _ignore) -> Loaded:
    """Open the checkpoint `path` with the data of its task, or of `setup.task` where it is named; code of plugins runs
    in the processes of `host` (None: here).

    Raises
    ------
    RecordError
        Where the checkpoint cannot be read, or was trained on other data than its task has now, or on another
        pretrained model than is here.
    PluginError, DataError
        Where the pretrained model is not in the cache and cannot be fetched.
    """
    info = read_info(path)
    spec = setup.spec_of(info, path)
    remote = open_remote(spec, find_task_or_card(spec.task), host, path) if host is not None else None
    cell = remote[0] if remote else open_cell(spec, task_of(info, setup))
    machine = replace(Machine.of(cell.spec, cell.model), precision="fp32")
    progress("reading data", 0.0)
    data = prepare(cell.task, info.track, cell.spec.source)
    if setup.task is None and data.fingerprint != info.data_fingerprint:
        raise RecordError(
            "was trained on other data than this task has now",
            where=path,
            field="data_fingerprint",
            remedy="name a task with --task to attack it there all the same, or train it again",
        )
    if remote:
        return Loaded(info, cell, data, remote[1].weights(), remote[1].loaded(data, machine), machine)
    cell.model.value.fetch(cell.model_options, offline=spec.source.offline)
    model = untrained(cell, data, machine.device)
    load_weights(model, path)
    return Loaded(info, cell, data, weights_hash(model), cell.defense_object.wrap(model), machine)


def task_of(info: CheckpointInfo, setup: Setup) -> Task:
    """The task that `setup` names, or that a checkpoint was trained for; of a retrained one, with the periods that it
    is tested on."""
    task = find_task_or_card(setup.task or info.task)
    was_trained_for = task.card.id == info.task
    return windowed(task, info.track, info.window) if info.window and was_trained_for else task


@contextmanager
def host_of(path: Path, setup: Setup) -> Iterator[Host | None]:
    """A host for the models of the checkpoint `path`, where attacking it needs code of plugins; None where not.

    Raises
    ------
    RecordError, CardError, DataError
        Where the checkpoint, or the data of its task, cannot be read.
    """
    info = read_info(path)
    spec = setup.spec_of(info, path)
    if not (WORKS and needs_plugins(spec, info)):
        yield None
        return
    ready = prepared_track(find_task_or_card(spec.task), spec.track, spec.source)
    with tempfile.TemporaryDirectory() as place:
        host = Host(HostJob(spec, ready, place=Path(place)), _refuse, forks=False)
        try:
            yield host
        finally:
            host.close()


def _refuse(what: str) -> None:
    raise PluginError(f"the process of the model {what}", remedy="read the plugin's source before anything else")


def _source(source: SourceOptions | None) -> SourceOptions:
    return source or SourceOptions(directory=None, cache=cache_root())
