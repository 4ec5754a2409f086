"""Poisoning for a look, in this process and without a record: one tier of chosen attacks (`recgauntlet poison run`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recgauntlet.core.card import Tier
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import DataError
from recgauntlet.core.journal import Journal
from recgauntlet.core.poison_card import TrainingDataThreat
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.types import Progress
from recgauntlet.data import cache as store
from recgauntlet.data.prepare import prepare, ready
from recgauntlet.records.poisoning import PoisonedTraining, TrainedOutcome, TrainingDataOutcome
from recgauntlet.runner.enclosure import paths_of_data
from recgauntlet.runner.poison_measure import dropped, measured_by, outcome_of, training_of
from recgauntlet.runner.poison_plugins import find_attacks
from recgauntlet.runner.poisoned_files import PoisonedFiles, PoisonFile
from recgauntlet.runner.record import Machine
from recgauntlet.training.build import OpenCell, checkpoint_info, open_cell, train_cell
from recgauntlet.training.checkpoint import CheckpointInfo, weights_hash


def look(
    spec: CellSpec, threat: TrainingDataThreat, attacks: Sequence[str], tier: Tier, progress: Progress
) -> TrainingDataOutcome:
    """What the `attacks` on training data (none named: all) do to the cell `spec` at `tier`, whose model is trained
    clean and under each. What is finished is kept in a journal in `spec.out`.

    Raises
    ------
    DataError, OutputError, PluginError
        Where the data is not there, the journal cannot be written, or a plugin fails.
    """
    cell = open_cell(spec)
    card, source = cell.task.card, spec.source
    chosen = find_attacks(threat, attacks, paths_of_data(spec.task, source))
    files = PoisonedFiles.of(card, spec.track, threat, ready(cell.task, spec.track, source), source.cache)
    files.ready(cell.task, spec.track, source, chosen)
    poisoned = PoisonedCell(cell, prepare(cell.task, spec.track, source), files, Machine.of(spec, cell.model))
    name = f"{card.id}-{spec.track}-{threat.id}-{spec.model}-{spec.defense}-{spec.seed}.journal"
    journal = Journal(spec.out / name, poisoned.journal_header())
    return poisoned.run([(attack.name, tier) for attack in chosen], journal, progress)


@dataclass(frozen=True)
class PoisonedCell:
    """A cell with the poisoned data of a threat; `data` is the genuine data, `machine` where it is trained."""

    cell: OpenCell
    data: TaskData
    files: PoisonedFiles
    machine: Machine

    def journal_header(self) -> dict[str, str]:
        """What the trainings belong to: one change of any of it trains anew."""
        spec = self.cell.spec
        return {
            "task": self.cell.task.card.fingerprint(spec.track),
            "data": f"{self.data.fingerprint} {self.files.directory.name}",
            "model": self.cell.refs[0].model_dump_json(),
            "defense": self.cell.refs[1].model_dump_json(),
            "seed": str(spec.seed),
            "precision": self.machine.precision,
        }

    def run(self, attacks: Sequence[tuple[str, Tier]], journal: Journal, progress: Progress) -> TrainingDataOutcome:
        """Train the cell without poison, then once for each of `attacks`; what the journal has is not done again.

        Raises
        ------
        DataError, OutputError, PluginError
            Where the poisoned data is not there, the journal cannot be written, or a plugin fails.
        """
        threat = self.files.threat.id
        progress("poisoning: clean", 0.0)
        clean = journal.do(f"{threat}/clean", TrainedOutcome, lambda: self._trained(self.data)[0])
        found = []
        for number, (attack, tier) in enumerate(attacks, start=1):
            progress(f"poisoning: {attack} {tier}", number / (1 + len(attacks)))
            file = self.files.file(attack, tier)
            if file.faults:
                found.append(training_of(file, clean, 0, 0))
                continue
            key = f"{threat}/{attack}/{tier}/{file.table}"
            found.append(journal.do(key, PoisonedTraining, lambda file=file: self._poisoned(file)))  # type: ignore[misc]
        progress("poisoning: done", 1.0)
        names = tuple(dict.fromkeys(attack for attack, _ in attacks))
        return measured_by(self.files, clean, names, names).model_copy(update={"trainings": tuple(found)})

    def _poisoned(self, file: PoisonFile) -> PoisonedTraining:
        path = self.files.path(file)
        data = store.load(path)
        if data is None:
            raise DataError("the poisoned data is gone", where=path, remedy="delete its directory and run it again")
        outcome, info = self._trained(data)
        return training_of(file, outcome, *dropped(data, file, info))

    def _trained(self, data: TaskData) -> tuple[TrainedOutcome, CheckpointInfo]:
        # a defense may keep something of a training, so that each gets a new one
        cell, machine = open_cell(self.cell.spec, self.cell.task), self.machine
        model, trained = train_cell(cell, data, machine.device, machine.precision, lambda what, share: None)
        info = checkpoint_info(cell, trained, data, model.recipe, machine.environment)
        served = cell.defense_object.wrap(model.eval())
        return outcome_of(served, data, self.files, info, weights_hash(model)), info
