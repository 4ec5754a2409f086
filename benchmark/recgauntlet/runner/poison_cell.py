"""Training and measuring for poisoning inside a cell, in processes of its own or in this one."""

from __future__ import annotations

from pathlib import Path

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import DataError
from recgauntlet.core.types import Progress
from recgauntlet.data import cache as store
from recgauntlet.data.prepare import ready
from recgauntlet.records.io import write_record
from recgauntlet.records.poisoning import TrainingDataOutcome
from recgauntlet.records.schema import Failure
from recgauntlet.runner.failures import StepError, step
from recgauntlet.runner.models import Models, ModelsHere
from recgauntlet.runner.poisoned_files import threats_of
from recgauntlet.runner.poisoning import PoisonSteps, Retraining
from recgauntlet.runner.record import Header, Machine, make_record
from recgauntlet.training.build import OpenCell, checkpoint_info, open_cell, train_cell
from recgauntlet.training.checkpoint import CheckpointInfo

TRAINING_SHARE = 0.6
"""Of a cell's progress, roughly."""


def retraining_failure(due: Retraining, failure: Failure) -> Failure:
    """The failure of a training on poisoned data."""
    return failure.model_copy(update={"stage": "poisoning", "message": f"{due.title}: {failure.message}"})


def measure_apart(
    cell: OpenCell,
    models: Models,
    data: TaskData,
    started: str,
    record: Path,
    steps: PoisonSteps,
    due: Retraining | None,
) -> bool:
    """Measure weights for poisoning, those of the cell or of the training `due`, and write it down; where that fails,
    write the failed cell's record to `record`. False where there are no weights of this cell."""
    machine = Machine.of(cell.spec, cell.model, started)
    try:
        with step("poisoning"):
            info = models.saved(cell, data, machine)
            if info is None:
                return False
            measure(steps, due, cell, data, models, info, machine)
    except StepError as error:
        write_record(make_record(Header.of(cell, machine), data, failure=error.failure), record)
    return True


def measure(
    steps: PoisonSteps,
    due: Retraining | None,
    cell: OpenCell,
    data: TaskData,
    models: Models,
    info: CheckpointInfo,
    machine: Machine,
) -> None:
    """Measure the cell's own model, or that of the training `due`, and write it down."""
    journal = steps.journal()
    if due is None:
        steps.measure_clean(cell, data, models, info, machine, journal)
    else:
        steps.measure(due, cell, data, models, info, machine, journal)


def poisoned(
    cell: OpenCell,
    data: TaskData,
    models: Models,
    info: CheckpointInfo,
    machine: Machine,
    progress: Progress,
    *,
    trains: bool,
) -> tuple[TrainingDataOutcome, ...]:
    """The outcome of poisoning: as the journal has it; where the cell trains here, what is missing is done here."""
    spec = cell.spec
    with step("poisoning"):
        if not threats_of(cell.task.card, spec.poison_attacks):
            return ()
        prepared = ready(cell.task, spec.track, spec.source)
        steps = PoisonSteps(cell.task, spec, prepared)
        if trains:
            steps.make_ready(steps.journal())
            if steps.files and not steps.clean(steps.journal()):
                measure(steps, None, cell, data, models, info, machine)
                steps.make_ready(steps.journal())
            while (due := steps.due(steps.journal())) is not None:
                progress(f"poisoning: {due.title}", TRAINING_SHARE)
                _retrain(steps, due, cell, machine)
        return steps.outcomes(steps.journal())


def _retrain(steps: PoisonSteps, due: Retraining, cell: OpenCell, machine: Machine) -> None:
    """Train in this process on poisoned data, and measure that."""
    data = store.load(due.data)
    if data is None:
        raise DataError("the poisoned data is gone", where=due.data, remedy="run the cell again")
    again = open_cell(cell.spec, cell.task)  # a defense may keep something of a training, so that each gets a new one
    model, outcome = train_cell(again, data, machine.device, machine.precision, lambda what, share: None)
    info = checkpoint_info(again, outcome, data, model.recipe, machine.environment)
    measure(steps, due, again, data, ModelsHere(model.eval()), info, machine)
