"""One cell of the benchmark: task x model x defense x seed. Prepare, train, attack, record."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import OutputError, RecGauntletError
from recgauntlet.core.journal import Journal
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.types import Progress
from recgauntlet.data.prepare import prepare
from recgauntlet.evaluation.gauntlet import run_gauntlet
from recgauntlet.records.io import write_record
from recgauntlet.records.schema import Failure, RunRecord
from recgauntlet.runner.record import Header, Machine, cost_of, make_record, twin_directory
from recgauntlet.runner.remote.client import RemoteFault
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
from recgauntlet.training.device import choose_device

TRAINING_SHARE = 0.6
"""Of a cell's progress, roughly."""


class Models(Protocol):
    """The models of a cell, wherever they are: the trained one, and its undefended twin."""

    def saved(self, cell: OpenCell, data: TaskData, machine: Machine) -> CheckpointInfo | None:
        """Load the cell's checkpoint; what it states, None where there is no checkpoint of this training."""
        ...

    def twin(
        self, cell: OpenCell, data: TaskData, machine: Machine, progress: Progress
    ) -> tuple[Recommender | None, CheckpointInfo | None]:
        """The undefended twin; None for an undefended cell."""
        ...

    def served(self, cell: OpenCell, data: TaskData, machine: Machine) -> Recommender:
        """What the cell's defense makes of the trained model for inference."""
        ...

    def weights(self) -> str:
        """The hash of the trained weights."""
        ...


class ModelsHere:
    """Models in this process."""

    def __init__(self, model: Recommender | None = None) -> None:
        self._model = model

    def saved(self, cell: OpenCell, data: TaskData, machine: Machine) -> CheckpointInfo | None:
        path = cell.spec.checkpoint_path
        if not path.exists():
            return None
        info = read_info(path)
        model = untrained(cell, data, machine.device)
        if info.recipe != asdict(model.recipe) or info.precision != machine.precision or not belongs(info, cell, data):
            return None
        load_weights(model, path)
        self._model = model.eval()
        return info

    def twin(
        self, cell: OpenCell, data: TaskData, machine: Machine, progress: Progress
    ) -> tuple[Recommender | None, CheckpointInfo | None]:
        if cell.spec.is_twin:
            return None, None
        return find_twin(cell, data, machine.device, machine.precision, progress)

    def served(self, cell: OpenCell, data: TaskData, machine: Machine) -> Recommender:
        return cell.defense_object.wrap(self._trained)

    def weights(self) -> str:
        return weights_hash(self._trained)

    @property
    def _trained(self) -> Recommender:
        assert self._model is not None
        return self._model


class StepError(Exception):
    """A step of a cell failed, for example because a plugin raised an error; the failure is recorded."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def run_cell(spec: CellSpec, progress: Progress = lambda what, share: None) -> RunRecord:
    """Train, evaluate and record one cell in this process; writes the record and the weights, nothing else.

    A cell that fails is recorded with its error and returned with status "failed". Plugins are not sandboxed here; a
    sweep does that (`recgauntlet.runner.sweep`).

    Raises
    ------
    OutputError
        Where the record or the weights cannot be written.
    PluginError, CardError
        Where the spec names something wrong.
    """
    cell = open_cell(spec)
    record = _evaluate(cell, ModelsHere(), Machine.of(spec, cell.model), spec.record_path, progress, trains=True)
    assert record is not None  # it trains where there are no weights
    return record


def train_apart(cell: OpenCell, data: TaskData, started: str, weights: Path, record: Path, progress: Progress) -> None:
    """The first half of `run_cell`, for a process that never sees test data: train on `data` (whose test part is empty)
    and write the weights to `weights`; where that fails, write the failed cell's record to `record`."""
    machine = Machine.of(cell.spec, cell.model, started)
    try:
        train_and_save(cell, data, machine, weights, progress)
    except StepError as error:
        write_record(make_record(Header.of(cell, machine), data, failure=error.failure), record)


def evaluate_apart(cell: OpenCell, models: Models, started: str, record: Path, progress: Progress) -> bool:
    """The second half of `run_cell`: attack the weights at the cell's place and write the record to `record`; false
    where there are no weights of this cell."""
    machine = Machine.of(cell.spec, cell.model, started)
    return _evaluate(cell, models, machine, record, progress, trains=False) is not None


def _evaluate(
    cell: OpenCell, models: Models, machine: Machine, path: Path, progress: Progress, *, trains: bool
) -> RunRecord | None:
    """Attack a cell's weights and write its record to `path`; None where it has none and may not train."""
    spec, data = cell.spec, None
    try:
        with _step("data"):
            progress("reading data", 0.0)
            data = prepare(cell.task, spec.track, spec.source)
        info = None
        if may_reuse(spec) or not trains:
            with _step("training"):
                info = models.saved(cell, data, machine)
        if info is None and not trains:
            return None
        if info is None:
            model, info = train_and_save(cell, data, machine, spec.checkpoint_path, progress)
            models = ModelsHere(model)
        record = attack_cell(cell, data, models, info, machine, progress)
    except StepError as error:
        record = make_record(Header.of(cell, machine), data, failure=error.failure)
    write_record(record, path)
    if record.status == "ok":
        Journal(spec.journal_path).remove()
    return record


def train_and_save(
    cell: OpenCell, data: TaskData, machine: Machine, weights: Path, progress: Progress
) -> tuple[Recommender, CheckpointInfo]:
    """Train the cell's model under its defense and write its weights to `weights`; the model, and what the checkpoint
    states about it."""
    with _step("training"):
        part = _part(progress, 0.0, TRAINING_SHARE)
        model, outcome = train_cell(cell, data, machine.device, machine.precision, part)
        info = checkpoint_info(cell, outcome, data, model.recipe, machine.environment)
        save_checkpoint(model, info, weights)
        return model, info


def attack_cell(
    cell: OpenCell, data: TaskData, models: Models, info: CheckpointInfo, machine: Machine, progress: Progress
) -> RunRecord:
    """Send the trained model through the gauntlet; the cell's record."""
    spec = cell.spec
    with _step("twin"):
        part = _part(progress, TRAINING_SHARE, TRAINING_SHARE)
        twin, twin_info = models.twin(cell, data, machine, part)
    with _step("serving"):
        served = models.served(cell, data, machine)
    with _step("evaluation"):
        weights = models.weights()
        result = run_gauntlet(
            served,
            cell.task.card,
            data,
            spec.seed,
            twin=twin,
            journal=Journal(spec.journal_path, _journal_header(cell, data, weights)),
            twin_directory=twin_directory(spec.source),
            progress=_part(progress, TRAINING_SHARE, 1.0),
        )
    with _step("recording"):
        cost = cost_of(info, served, result.trial, machine.device, twin_info)
        header = Header.of(cell, machine, info)
        return make_record(header, data, result=result, weights=weights, info=info, cost=cost)


def may_reuse(spec: CellSpec) -> bool:
    """Whether weights at the spec's place are to be attacked as they are, if they are this cell's: where the spec asks
    for it or an evaluation was interrupted."""
    return (spec.reuse_weights or spec.journal_path.exists()) and spec.checkpoint_path.exists()


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


@contextmanager
def _step(stage: str) -> Iterator[None]:
    """Turn what is raised inside into a StepError that names the stage; only OutputError passes."""
    try:
        yield
    except OutputError:
        raise
    except Exception as error:  # whatever a plugin raises ends this cell, not the sweep
        raise StepError(Failure(kind=type(error).__name__, message=_message(error), stage=stage)) from error


def _message(error: Exception) -> str:
    """The error for a record: files by their names alone, since directories may hold private names."""
    if isinstance(error, RecGauntletError):
        where = error.where and Path(error.where).name
        return str(type(error)(error.problem, where=where, field=error.field, remedy=error.remedy))
    if isinstance(error, RemoteFault):  # names the places in the other process
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)[-3:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__}: {error} (at {places})"


def _journal_header(cell: OpenCell, data: TaskData, weights: str) -> dict[str, str]:
    """What a journal's steps belong to: one change of any of it starts the evaluation anew."""
    return {
        "task": cell.task.card.fingerprint(cell.spec.track),
        "data": data.fingerprint,
        "suite": suite_ref().fingerprint,
        "weights": weights,
        "defense": cell.spec.defense,
        "seed": str(cell.spec.seed),
    }


def _part(progress: Progress, start: float, end: float) -> Progress:
    """Progress of a part that runs from `start` to `end` of the whole."""
    return lambda what, share: progress(what, start + (end - start) * share)
