"""One cell of the benchmark: task x model x defense x seed. Prepare, train, attack, record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import CardError, DeviceError
from recgauntlet.core.journal import Journal
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.types import Progress
from recgauntlet.data.language_model import smollm2
from recgauntlet.data.prepare import prepare
from recgauntlet.data.text_measures import TextMeasures
from recgauntlet.data.user_attributes import UserCodes, user_attributes
from recgauntlet.evaluation.first_pairs import first_pairs
from recgauntlet.evaluation.gauntlet import run_gauntlet
from recgauntlet.evaluation.naturalness import edits_texts
from recgauntlet.records.io import write_record
from recgauntlet.records.poisoning import TrainingDataOutcome
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.failures import StepError, step
from recgauntlet.runner.models import Models, ModelsHere
from recgauntlet.runner.poison_cell import TRAINING_SHARE, poisoned
from recgauntlet.runner.record import Header, Machine, cost_of, make_record, twin_directory
from recgauntlet.runner.together import check_devices
from recgauntlet.training.build import (
    OpenCell,
    checkpoint_info,
    open_cell,
    train_cell,
)
from recgauntlet.training.checkpoint import CheckpointInfo, save_checkpoint
from recgauntlet.training.device import choose_device
from recgauntlet.training.parallel import ALONE, Team


def run_cell(spec: CellSpec, progress: Progress = lambda what, share: None) -> RunRecord:
    """Train, evaluate and record one cell in this process; writes the record and the weights, nothing else.

    A cell that fails is recorded with its error and returned with status "failed". Plugins are not sandboxed here; a
    sweep does that (`recgauntlet.runner.sweep`).

    Raises
    ------
    OutputError
        Where the record or the weights cannot be written.
    PluginError, CardError, DeviceError
        Where the spec names something wrong, or several devices.
    """
    cell = open_cell(spec)
    if spec.devices > 1:
        raise DeviceError("this process trains alone", field="devices", remedy="run the cell by recgauntlet run")
    record = _evaluate(cell, ModelsHere(), Machine.of(spec, cell.model), spec.record_path, progress, trains=True)
    assert record is not None  # it trains where there are no weights
    return record


def train_apart(
    cell: OpenCell,
    data: TaskData,
    started: str,
    weights: Path,
    record: Path,
    progress: Progress,
    team: Team = ALONE,
) -> None:
    """The first half of `run_cell`, for a process that never sees test data: train on `data` (whose test part is empty)
    and write the weights to `weights`; where that fails, write the failed cell's record to `record`. Of a `team` the
    first process writes.

    Raises
    ------
    StepError
        In a process of a team that is not the first.
    """
    machine = Machine.of(cell.spec, cell.model, started)
    try:
        train_and_save(cell, data, machine, weights, progress, team)
    except StepError as error:
        if not team.is_first:
            raise
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
        with step("data"):
            progress("reading data", 0.0)
            data = prepare(cell.task, spec.track, spec.source)
            # without a connection: it was fetched with the data, before any fence
            attributes = user_attributes(cell.task, spec.track, data, replace(spec.source, offline=True))
        info = None
        if may_reuse(spec) or not trains:
            with step("training"):
                info = models.saved(cell, data, machine)
        if info is None and not trains:
            return None
        if info is None:
            model, info = train_and_save(cell, data, machine, spec.checkpoint_path, progress)
            models = ModelsHere(model)
        poisoning = poisoned(cell, data, models, info, machine, progress, trains=trains)
        record = attack_cell(cell, data, models, info, machine, progress, poisoning, attributes)
    except StepError as error:
        record = make_record(Header.of(cell, machine), data, failure=error.failure)
    write_record(record, path)
    if record.status == "ok":
        Journal(spec.journal_path).remove()
        spec.poisoning_path.unlink(missing_ok=True)
    return record


def train_and_save(
    cell: OpenCell, data: TaskData, machine: Machine, weights: Path, progress: Progress, team: Team = ALONE
) -> tuple[Recommender, CheckpointInfo]:
    """Train the cell's model under its defense and write its weights to `weights`; the model, and what the checkpoint
    states about it. Of a `team` the first process writes."""
    with step("training"):
        part = _part(progress, 0.0, TRAINING_SHARE)
        model, outcome = train_cell(cell, data, team.device or machine.device, machine.precision, part, team=team)
        info = checkpoint_info(cell, outcome, data, model.recipe, machine.environment)
        if team.is_first:
            save_checkpoint(model, info, weights)
        return model, info


def attack_cell(
    cell: OpenCell,
    data: TaskData,
    models: Models,
    info: CheckpointInfo,
    machine: Machine,
    progress: Progress,
    poisoning: tuple[TrainingDataOutcome, ...] = (),
    attributes: Sequence[UserCodes] = (),
) -> RunRecord:
    """Send the trained model through the gauntlet; the cell's record, with the outcome of `poisoning` and groups by
    `attributes` of the users."""
    spec = cell.spec
    with step("twin"):
        part = _part(progress, TRAINING_SHARE, TRAINING_SHARE)
        twin, twin_info = models.twin(cell, data, machine, part)
    with step("serving"):
        served = models.served(cell, data, machine)
    with step("language model"):
        measures = text_measures(cell, machine)
    with step("evaluation"):
        weights = models.weights()
        result = run_gauntlet(
            served,
            cell.task.card,
            first_pairs(data, spec.test_pairs),
            spec.seed,
            twin=twin,
            journal=Journal(spec.journal_path, _journal_header(cell, data, weights, machine.precision)),
            twin_directory=twin_directory(spec.source),
            high_tier=spec.high_tier,
            curves=spec.curves,
            left_out=spec.left_out,
            half=machine.precision == "bf16",
            measures=measures,
            progress=_part(progress, TRAINING_SHARE, 1.0),
        )
    with step("recording"):
        cost = cost_of(info, served, result.trial, machine.device, twin_info)
        header = Header.of(cell, machine, info)
        return make_record(
            header,
            data,
            result=result,
            weights=weights,
            info=info,
            cost=cost,
            poisoning=poisoning,
            attributes=attributes,
        )


def text_measures(cell: OpenCell, machine: Machine) -> TextMeasures | None:
    """What measures how natural edits are: None where the spec does not ask for it, or no text is edited."""
    spec = cell.spec
    if not (spec.naturalness and edits_texts(cell.task.card)):
        return None
    return TextMeasures(smollm2(spec.source.cache, offline=spec.source.offline), machine.device)


def may_reuse(spec: CellSpec) -> bool:
    """Whether weights at the spec's place are to be attacked as they are, if they are this cell's: where the spec asks
    for it or an evaluation was interrupted."""
    begun = spec.journal_path.exists() or spec.poisoning_path.exists()
    return (spec.reuse_weights or begun) and spec.checkpoint_path.exists()


def check_spec(spec: CellSpec) -> OpenCell:
    """The cell, after looking up everything that the spec names.

    Raises
    ------
    PluginError, CardError, DeviceError
        Where a name, an option, the track, the number of test pairs or the device is wrong.
    """
    cell = open_cell(spec)
    check_devices(cell, choose_device(spec.device))
    pairs = cell.task.card.track(spec.track).test_pairs
    if spec.test_pairs is not None and not 1 <= spec.test_pairs <= pairs:
        raise CardError(
            f"has {pairs} test pairs, {spec.test_pairs} are asked for",
            where=f"{spec.task_id} ({spec.track})",
            field="--test-pairs",
            remedy=f"give a number from 1 to {pairs}, or leave it out for all",
        )
    return cell


def _journal_header(cell: OpenCell, data: TaskData, weights: str, precision: str) -> dict[str, str]:
    """What a journal's steps belong to: one change of any of it starts the evaluation anew."""
    return {
        "task": cell.task.card.fingerprint(cell.spec.track),
        "data": data.fingerprint,
        "suite": suite_ref().fingerprint,
        "weights": weights,
        "defense": cell.spec.defense,
        "seed": str(cell.spec.seed),
        **({} if cell.spec.test_pairs is None else {"test_pairs": str(cell.spec.test_pairs)}),
        **({} if precision == "fp32" else {"precision": precision}),
    }


def _part(progress: Progress, start: float, end: float) -> Progress:
    """Progress of a part that runs from `start` to `end` of the whole."""
    return lambda what, share: progress(what, start + (end - start) * share)
