"""A cell whose plugins are never imported here: its models answer from processes of their own."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import ModelProcessError, RecordError
from recgauntlet.core.plugins import BUILT_IN, Plugin, whose
from recgauntlet.core.recommender import Recommender, TrainingRecipe
from recgauntlet.core.rng import derive
from recgauntlet.core.source import source_of
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import Task
from recgauntlet.core.types import Progress
from recgauntlet.records.references import PluginRef
from recgauntlet.runner.models import ModelsHere
from recgauntlet.runner.record import Machine
from recgauntlet.runner.remote.cell_server import WEIGHTS
from recgauntlet.runner.remote.client import Client
from recgauntlet.runner.remote.host import WORKS, Host, Role
from recgauntlet.runner.remote.messages import Opened, Served
from recgauntlet.runner.remote.recommender import About, RemoteRecommender
from recgauntlet.threats.smoothing import SMOOTHED
from recgauntlet.training.build import OpenCell, belongs, needs_plugins
from recgauntlet.training.checkpoint import CheckpointInfo, hash_of_file, read_info
from recgauntlet.training.defense import UnloadedDefense
from recgauntlet.training.device import make_deterministic


def is_remote(spec: CellSpec) -> bool:
    """Whether the weights at the spec's place can be attacked only with code of a plugin, so that it runs apart."""
    if not (WORKS and spec.checkpoint_path.exists()):
        return False
    try:
        return needs_plugins(spec, read_info(spec.checkpoint_path))
    except RecordError:  # the evaluation reports it
        return False


def open_remote(spec: CellSpec, task: Task, host: Host, weights: Path | None = None) -> tuple[OpenCell, RemoteModels]:
    """The cell, as a new process of its model describes it, and its models; `weights` is its checkpoint where that is
    not at the spec's place.

    Raises
    ------
    ModelProcessError, RemoteFault, PluginError, RecordError
        Where the process ends, or cannot open the cell.
    """
    remote = _Remote(spec, task, host, "cell", weights or spec.checkpoint_path)
    return remote.cell, RemoteModels(host, remote)


class RemoteModels:
    """The models of a cell in processes of their own; a twin of built-in code is here."""

    def __init__(self, host: Host, remote: _Remote) -> None:
        self._host, self._remote = host, remote

    def saved(self, cell: OpenCell, data: TaskData, machine: Machine) -> CheckpointInfo | None:
        """What the cell's checkpoint states; None where there is none of this training."""
        make_deterministic(derive(cell.spec.seed, f"weights/{cell.model.name}"))  # as where the model is built here
        return self._remote.load() if self._remote.fits(data, machine) else None

    def loaded(self, data: TaskData, machine: Machine) -> Recommender:
        """The model as it is served, with the checkpoint's weights, whatever data they were trained on."""
        self._remote.load()
        return self._remote.served(data, machine)

    def twin(
        self, cell: OpenCell, data: TaskData, machine: Machine, progress: Progress
    ) -> tuple[Recommender | None, CheckpointInfo | None]:
        """The undefended twin, trained where its weights are not there."""
        spec = cell.spec
        if spec.is_twin:
            return None, None
        if whose("models", spec.model)[0] == BUILT_IN:
            return ModelsHere().twin(cell, data, machine, progress)
        path = spec.twin().checkpoint_path
        if path.exists():
            remote = _Remote(spec.twin(), cell.task, self._host, "twin", path)
            if remote.fits(data, machine):
                info = remote.load()
                return remote.served(data, machine), info
        progress("training the undefended twin, whose weights are not there", 0.0)
        return self._trained_twin(cell, data, machine, progress)

    def retrained_twin(self, cell: OpenCell, data: TaskData, machine: Machine) -> Recommender | None:
        """The undefended twin, trained on `data`, which is the data of the host."""
        if cell.spec.is_twin:
            return None
        if whose("models", cell.spec.model)[0] == BUILT_IN:
            return ModelsHere().retrained_twin(cell, data, machine)
        return self._trained_twin(cell, data, machine, lambda what, share: None)[0]

    def _trained_twin(
        self, cell: OpenCell, data: TaskData, machine: Machine, progress: Progress
    ) -> tuple[Recommender, CheckpointInfo]:
        client, place = self._host.open("twin")
        client.ask("train", progress=progress)
        client.close()
        remote = _Remote(cell.spec.twin(), cell.task, self._host, "twin", place / WEIGHTS)
        if not remote.fits(data, machine):
            raise client.broken("left weights that are not those of the undefended twin")
        info = remote.load()
        return remote.served(data, machine), info

    def served(self, cell: OpenCell, data: TaskData, machine: Machine) -> Recommender:
        """The model as it is served."""
        return self._remote.served(data, machine)

    def weights(self) -> str:
        """The hash of the trained weights."""
        return self._remote.weights


class _Remote:
    """A model in a process of its own, from its opening to its first question."""

    def __init__(self, spec: CellSpec, task: Task, host: Host, role: Role, path: Path) -> None:
        self._host, self._path = host, path
        self._role: Role = role
        if path.is_symlink():
            raise ModelProcessError("the weights are a link, not a file", where=path, remedy="run the cell again")
        self._info, self.weights = read_info(path), hash_of_file(path)
        self._client, self._opened = self._open()
        self.cell = _unloaded_cell(spec, task, self._opened, self._info)

    def fits(self, data: TaskData, machine: Machine) -> bool:
        """Whether the weights are of this training."""
        info = self._info
        same = info.recipe == self._opened.recipe and info.precision == machine.precision
        return same and belongs(info, self.cell, data)

    def load(self) -> CheckpointInfo:
        """Load the weights."""
        self._client.ask("load")
        return self._info

    def served(self, data: TaskData, machine: Machine) -> Recommender:
        """The model as it is served."""
        served = _served(self._client)
        known = {field.name for field in fields(TrainingRecipe)}
        recipe: Any = {name: value for name, value in self._opened.recipe.items() if name in known}
        length = self.cell.task.card.track(self.cell.spec.track).token_length
        about = About(data.catalog, length, machine.device, served, TrainingRecipe(**recipe), self.weights)
        first: list[Client] = [self._client]

        def connect() -> Client:
            """The process that is there; later a new one."""
            if first:
                return first.pop()
            client, opened = self._open()
            client.ask("load")
            if opened != self._opened or _served(client) != served:
                raise client.broken("serves another model than the process before it, from the same weights")
            return client

        model = RemoteRecommender(about, connect)
        model.client  # noqa: B018  the process that is there is this model's, not that of a copy
        if served.smoothing is None:
            return model
        smoothing = served.smoothing
        kind = SMOOTHED[smoothing.surface]
        return kind(model, votes=smoothing.votes, kept=smoothing.kept, sharpness=smoothing.sharpness)

    def _open(self) -> tuple[Client, Opened]:
        client, _ = self._host.open(self._role, self._path)
        header, _ = client.ask("open")
        return client, client.parsed(header.get("opened"), Opened)


def _served(client: Client) -> Served:
    return client.parsed(client.ask("serve")[0].get("served"), Served)


def _unloaded_cell(spec: CellSpec, task: Task, opened: Opened, info: CheckpointInfo) -> OpenCell:
    """The cell, with stand-ins for its plugins; which packages they are of, and their sources, is found here."""
    sources = source_of("models", spec.model), source_of("defenses", spec.defense)
    shipped = whose("models", spec.model), whose("defenses", spec.defense)
    names = spec.model, spec.defense
    refs: list[PluginRef] = []
    for ref, name, package, source in zip(opened.refs, names, shipped, sources, strict=True):
        described = {"name": name, "distribution": package[0], "version": package[1], "source": source}
        refs.append(ref.model_copy(update=described))
    # all that is asked of the class: whether it trains in bfloat16
    stand_in = type("UnloadedModel", (), {"trains_in_bf16": info.precision == "bf16"})
    return OpenCell(
        spec,
        task,
        Plugin(spec.model, stand_in, *shipped[0]),
        Plugin(spec.defense, UnloadedDefense, *shipped[1]),
        UnloadedDefense(dict(refs[1].hyperparameters), None),
        dict(refs[0].hyperparameters),
        (refs[0], refs[1]),
    )
