"""Opening a cell's parts, building and training its model, and finding its undefended twin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from recgauntlet.core.card import TIERS
from recgauntlet.core.dataset import Pairs, TaskData, TrainingPeriod
from recgauntlet.core.errors import PluginError
from recgauntlet.core.names import stored
from recgauntlet.core.plugins import BUILT_IN, Plugin, check_complete, whose
from recgauntlet.core.poison import Insertions, Poison
from recgauntlet.core.recommender import Origin, Recommender, TrainingRecipe, constructor_defaults, find_model
from recgauntlet.core.rng import Randomness, derive
from recgauntlet.core.source import source_of
from recgauntlet.core.spec import CellSpec, Options
from recgauntlet.core.task import Task
from recgauntlet.core.types import Progress, Scalar
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.interactions import Interactions
from recgauntlet.data.poisoned import PoisonedData, with_poison
from recgauntlet.records.references import Environment, PluginRef
from recgauntlet.threats.insertions import changed_by_insertions
from recgauntlet.threats.training_data import changed_genuine
from recgauntlet.training.checkpoint import CheckpointInfo, load_weights, read_info
from recgauntlet.training.defense import (
    Defense,
    UnloadedDefense,
    find_defense,
    require_use,
    serves_itself,
)
from recgauntlet.training.device import describe, make_deterministic, peak_memory, processor_in_words
from recgauntlet.training.parallel import ALONE, Team
from recgauntlet.training.trainer import Trained, filtered, rows_lost, train
from recgauntlet.training.tuned import Method, tuned_of


@dataclass(frozen=True)
class OpenCell:
    """A spec and everything that it names, found and checked."""

    spec: CellSpec
    task: Task
    model: Plugin
    defense: Plugin
    defense_object: Defense
    model_options: dict[str, Scalar]
    refs: tuple[PluginRef, PluginRef]
    """The model and the defense as the record names them, their sources hashed before they were imported."""

    @property
    def options(self) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
        """The hyper-parameters of the model and of the defense, as the record repeats them."""
        return self.model_options, self.defense_object.hyperparameters()

    @property
    def defaults(self) -> tuple[dict[str, Scalar], dict[str, Scalar]]:
        """The same as the constructors have them."""
        return constructor_defaults(self.model.value), constructor_defaults(self.defense.value)


def open_cell(spec: CellSpec, task: Task | None = None) -> OpenCell:
    """Look up everything that `spec` names; `task` is its task where that was opened before.

    Raises
    ------
    PluginError, CardError
        Where a name or an option is wrong.
    """
    task = task or find_task_or_card(spec.task)
    sources = sources_of(spec)
    model, defense = find_model(spec.model), find_defense(spec.defense)
    check_complete(model)
    options = merged_options(model, spec.model_options, tuned_values(model, "model", spec))
    chosen = merged_options(defense, spec.defense_options, tuned_values(defense, "defense", spec))
    made: Defense = defense.value(**chosen)
    require_use(model, defense.name, made)
    refs = PluginRef.of(model, options, sources[0]), PluginRef.of(defense, made.hyperparameters(), sources[1])
    return OpenCell(spec, task, model, defense, made, options, refs)


def open_trained(spec: CellSpec, task: Task, weights: Path | None = None) -> OpenCell:
    """As `open_cell`, for `weights` (None: those at the spec's place): a defense that serving does not need is not
    imported where the model is built-in, so that its code cannot change the evaluation. What the record repeats of it
    comes from the checkpoint, its package and source from what is installed here.

    Raises
    ------
    PluginError, CardError, RecordError
        Where a name, an option or the checkpoint is wrong.
    """
    path = weights or spec.checkpoint_path
    info = read_info(path) if path.exists() else None
    if info is None or info.refs is None or info.needs_defense or needs_plugins(spec, info):
        return open_cell(spec, task)
    sources = sources_of(spec)
    model = find_model(spec.model)
    options = merged_options(model, spec.model_options, tuned_values(model, "model", spec))
    shipped = whose("defenses", spec.defense)
    described = {"name": spec.defense, "distribution": shipped[0], "version": shipped[1], "source": sources[1]}
    unloaded = UnloadedDefense(info.defense_options, info.kept)
    ref = info.refs[1].model_copy(update={**described, "hyperparameters": info.defense_options})
    plugin = Plugin(spec.defense, UnloadedDefense, *shipped)
    return OpenCell(spec, task, model, plugin, unloaded, options, (PluginRef.of(model, options, sources[0]), ref))


def needs_plugins(spec: CellSpec, info: CheckpointInfo) -> bool:
    """Whether attacking the weights that `info` describes runs code that is not built-in: the model's, or that of a
    defense which serving needs."""
    needs_defense = info.refs is None or info.needs_defense
    foreign_defense = whose("defenses", spec.defense)[0] != BUILT_IN
    return whose("models", spec.model)[0] != BUILT_IN or (needs_defense and foreign_defense)


def sources_of(spec: CellSpec) -> tuple[str, str]:
    """The source hashes of the model and the defense that are installed here, without importing them."""
    return source_of("models", spec.model), source_of("defenses", spec.defense)


def tuned_values(plugin: Plugin, method: Method, spec: CellSpec) -> dict[str, Scalar]:
    """What is tuned for the cell: in the file that `spec` names, else in what the plugin's own package ships; nothing
    where there is none or `spec` wants none.

    Raises
    ------
    PluginError
        Where the file is broken, or a value is none that the plugin takes.
    """
    found = tuned_of(spec, method, plugin.name)
    if found is None:
        return {}
    entry, path = found
    try:
        merged_options(plugin, tuple(entry.values.items()))
    except PluginError as error:
        remedy = (
            f"correct the file, or leave it out ({'--tuned' if path == spec.tuned else '--untuned'}); {error.remedy}"
        )
        field = f"tuned.values.{error.field}"
        raise PluginError(error.problem, where=path, field=field, remedy=remedy) from error
    return dict(entry.values)


def merged_options(
    plugin: Plugin, options: Options, tuned: Mapping[str, Scalar] = MappingProxyType({})
) -> dict[str, Scalar]:
    """The defaults of a plugin's constructor, with what is `tuned` in their place, and `options` in the place of both.

    Raises
    ------
    PluginError
        Where an option does not fit.
    """
    known = constructor_defaults(plugin.value)
    merged = known | dict(tuned)
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
        merged[name] = stored("tier", str(value)) if name == "tier" and default in TIERS else value
    return merged


def build_model(
    plugin: Plugin, data: TaskData, token_length: int, options: dict[str, Scalar], seed: int
) -> Recommender:
    """An untrained model whose first weights depend on `seed` and the training period alone.

    Raises
    ------
    PluginError
        Where the constructor fails.
    """
    first = derive(seed, f"weights/{plugin.name}")
    make_deterministic(first)
    origin = Origin(data.catalog, token_length, options, TrainingPeriod(data.train, data.user_count))
    try:
        model: Recommender = plugin.value.build(origin, first)
    except TypeError as error:
        raise PluginError(
            f"the model {plugin.name!r} cannot be built: {error}",
            field="__init__",
            remedy="take the catalog, a keyword token_length and keyword hyper-parameters with defaults",
        ) from error
    return model


def untrained(cell: OpenCell, data: TaskData, device: torch.device) -> Recommender:
    """The cell's model with its first weights, on `device`, and its defense prepared for the task.

    Raises
    ------
    PluginError
        Where the model cannot be built, or the defense's filter leaves no training pairs.
    """
    card, defense = cell.task.card, cell.defense_object
    defense.prepare(card.threats, data.catalog)
    data = replace(data, train=filtered(defense, data.train))
    length = card.track(cell.spec.track).token_length
    return build_model(cell.model, data, length, cell.model_options, cell.spec.seed).to(device)


def train_cell(
    cell: OpenCell,
    data: TaskData,
    device: torch.device,
    precision: str,
    progress: Progress,
    *,
    most_epochs: int | None = None,
    team: Team = ALONE,
) -> tuple[Recommender, Trained]:
    """The cell's model, trained under its defense; for at most `most_epochs` epochs, its schedule shortened alike. Of a
    `team` every process calls it, each with its device."""
    model = untrained(cell, data, device)
    if most_epochs is not None:
        model.recipe = replace(model.recipe, epochs=min(most_epochs, model.recipe.epochs))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    # the global generator drives dropout: the same stream under every defense
    make_deterministic(derive(cell.spec.seed, "training", *([] if team.is_first else [team.rank])))
    rng = Randomness(cell.spec.seed, "training")
    trained = train(model, cell.defense_object, data, rng, precision=precision, progress=progress, team=team)
    return model, replace(trained, peak_memory_bytes=int(team.largest(peak_memory(device))))


def poisoned_data(cell: OpenCell, data: TaskData, genuine: Interactions, poison: Poison) -> PoisonedData:
    """The cell's data with poison in the training pairs, for `train_cell`: the same recipe, and the genuine validation
    pairs.

    Raises
    ------
    RuntimeError
        Where anything genuine is not as it was.
    """
    made = with_poison(data, genuine, poison, cell.task.card.track(cell.spec.track))
    if fault := changed(data, made, poison):
        raise RuntimeError(fault)
    return made


def changed(data: TaskData, made: PoisonedData, poison: Poison) -> str:
    """What of the genuine `data` the poison changed that it may not; empty where it is nothing."""
    if isinstance(poison, Insertions):
        return changed_by_insertions(data, made, poison)
    return changed_genuine(data, made)


def find_twin(
    cell: OpenCell, data: TaskData, device: torch.device, precision: str, progress: Progress
) -> tuple[Recommender, CheckpointInfo]:
    """The undefended twin: its weights as the twin's cell left them, or trained here where there are none."""
    twin = open_cell(cell.spec.twin())
    path = twin.spec.checkpoint_path
    if path.exists() and belongs(info := read_info(path), twin, data):
        model = untrained(twin, data, device)
        load_weights(model, path)
    else:
        progress("training the undefended twin, whose weights are not there", 0.0)
        model, trained = train_cell(twin, data, device, precision, progress)
        info = checkpoint_info(twin, trained, data, model.recipe, describe(device, precision))
    return model.eval().requires_grad_(False), info


def belongs(info: CheckpointInfo, cell: OpenCell, data: TaskData) -> bool:
    """Whether a checkpoint is of this cell: the same task, data, model, defense, options and seed; and the same source
    of the plugins, unless the spec asks for weights of a former run. A defense that is not loaded says itself what the
    checkpoint says, so what is asked of it is compared too."""
    tuned = tuned_of(cell.spec, "defense", cell.spec.defense)
    asked = (tuned[0].values if tuned else {}) | dict(cell.spec.defense_options)
    return (
        (cell.spec.reuse_weights or info.sources == (cell.refs[0].source, cell.refs[1].source))
        and dict(cell.spec.model_options).items() <= info.model_options.items()
        and asked.items() <= info.defense_options.items()
        and info.task_fingerprint == cell.task.card.fingerprint(cell.spec.track)
        and info.data_fingerprint == data.fingerprint
        and info.model == cell.spec.model
        and info.model_options == cell.model_options
        and info.seed == cell.spec.seed
        and info.defense == cell.spec.defense
        and info.defense_options == cell.defense_object.hyperparameters()
    )


def checkpoint_info(
    cell: OpenCell, trained: Trained, data: TaskData, recipe: TrainingRecipe, environment: Environment
) -> CheckpointInfo:
    """The header of the cell's checkpoint."""
    spec, left = cell.spec, filtered(cell.defense_object, data.train)
    kept = rows_kept(left, data.train)
    return CheckpointInfo(
        task=spec.task_id,
        track=spec.track,
        task_fingerprint=cell.task.card.fingerprint(spec.track),
        data_fingerprint=data.fingerprint,
        model=spec.model,
        model_options=cell.model_options,
        defense=spec.defense,
        defense_options=cell.defense_object.hyperparameters(),
        recipe=asdict(recipe),
        seed=spec.seed,
        epochs=trained.epochs,
        seconds=trained.seconds,
        steps=trained.steps,
        forwards=trained.passes.forwards,
        backwards=trained.passes.backwards,
        flops=trained.flops,
        peak_memory_bytes=trained.peak_memory_bytes,
        processor=processor_in_words(environment, trained.devices),
        devices=trained.devices,
        precision=environment.precision,
        commit=environment.commit,
        refs=cell.refs,
        filters=type(cell.defense_object).filter is not Defense.filter,
        needs_defense=kept is None or not serves_itself(cell.defense_object),
        kept=kept if kept is not None and len(kept) < len(data.train) else None,
        dropped=tuple(np.setdiff1d(data.train.users, left.users).tolist()),
        lost=rows_lost(left, data.train),
    )


def rows_kept(kept: Pairs, pairs: Pairs) -> tuple[int, ...] | None:
    """The rows of `pairs` that `kept` consists of, in rising order; None where it is something else."""

    def rows(of: Pairs) -> Iterator[bytes]:
        return (b"".join(part[row].tobytes() for part in vars(of).values()) for row in range(len(of)))

    numbered = enumerate(rows(pairs))
    found = [next((number for number, row in numbered if row == wanted), None) for wanted in rows(kept)]
    return None if None in found else tuple(number for number in found if number is not None)
