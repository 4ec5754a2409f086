"""Poisoning of one cell: which trainings are due, what is measured of each, and the outcome for the record.

A cell's model is trained again from scratch for each poison table. Every training runs in a process of its own, which
sees that data alone, so a defense cannot compare two of them; the judge's side measures the weights afterwards. Each
measured training is a step of a journal, so a run that was killed loses the one in flight.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recgauntlet.attacks.poisoning.suite import POISONING_VERSION
from recgauntlet.core.card import RANKING_TIER, TIERS, Tier, TrainingDataThreat
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import RecordError
from recgauntlet.core.journal import Journal
from recgauntlet.core.names import shown
from recgauntlet.core.plugins import BUILT_IN, whose
from recgauntlet.core.recommender import find_model
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import Task
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.evaluation.poisoning_checks import poisoning_checks
from recgauntlet.records.poisoning import TargetSet, TrainingDataOutcome
from recgauntlet.runner.poison_measure import dropped, measured_by, newcomers_of, outcome_of, training_of, worst_of
from recgauntlet.runner.poison_results import CleanResult, Measured, MeasuredNewcomers, Repeated
from recgauntlet.runner.poisoned_files import (
    NewcomersFile,
    PoisonedFiles,
    PoisonFile,
    chosen_of,
    names_of,
    poisoned_files,
    threats_of,
)
from recgauntlet.training.build import sources_of
from recgauntlet.training.checkpoint import CheckpointInfo, hash_of_file

if TYPE_CHECKING:
    from recgauntlet.runner.models import Models
    from recgauntlet.runner.record import Machine
    from recgauntlet.training.build import OpenCell

FAST = 10.0
"""Seconds of clean training below which a model is trained again under all attacks, and once without poison."""
TEXT = "the model reads text, and only models that learn from who took what are trained again"
NO_POISON = "no poison"
"""Stands for an attack: training again on the genuine data."""
NEWCOMERS = "harmless new accounts"
"""Stands for an attack: training with accounts that do no harm."""


@dataclass(frozen=True)
class Retraining:
    """A training that is due: under a threat, on the prepared `data`. `attack` may be NO_POISON or NEWCOMERS."""

    threat: str
    attack: str
    tier: Tier
    data: Path

    @property
    def title(self) -> str:
        """ "coattails, medium tier"."""
        return (
            self.attack if self.attack in {NO_POISON, NEWCOMERS} else f"{self.attack}, {shown('tier', self.tier)} tier"
        )


class PoisonSteps:
    """The steps of a cell that is evaluated under threats to its training data; none where there is no such threat.

    Parameters
    ----------
    task, spec
        The cell, whose weights lie at their place.
    prepared
        The prepared data of the track.
    """

    def __init__(self, task: Task, spec: CellSpec, prepared: Path) -> None:
        self.spec, self.prepared = spec, prepared
        files = poisoned_files(task, spec, prepared)
        self.skipped = files if spec.poison_attacks is None and _is_built_in_text_model(spec) else ()
        """Those under which a built-in model is not trained again, which is known without a process of its own."""
        self.files = () if self.skipped else files
        self._task = task

    def make_ready(self, journal: Journal) -> None:
        """Make the poisoned data that is needed next, where it is not there; nothing of it once all is measured.

        Raises
        ------
        DataError, OutputError, PluginError
            Where the data cannot be read, the cache cannot be written, or there is no such attack.
        """
        found = self.clean(journal) or [None] * len(self.files)
        for files, clean in zip(self.files, found, strict=True):
            if clean is None or clean.outcome is not None:
                names = () if clean is None else self._attacks(files, fast=clean.fast)
                files.ready(self._task, self.spec.track, self.spec.source, names)
            if clean is not None and self._has_newcomers(files, clean):
                self._newcomers(files)

    def journal(self) -> Journal:
        """What was measured so far, of these weights and this source of the plugins."""
        spec = self.spec
        header = {
            "task": self._task.card.fingerprint(spec.track),
            "data": " ".join([self.prepared.name, *(files.directory.name for files in self.files)]),
            "attacks": " ".join(self._chosen(self.files[0])) if self.files else "",
            "sources": " ".join(sources_of(spec)),
            "weights": hash_of_file(spec.checkpoint_path),
            "seed": str(spec.seed),
        }
        return Journal(spec.poisoning_path, header)

    def clean(self, journal: Journal) -> tuple[CleanResult, ...]:
        """What was measured of the cell's own model under each threat; empty where it was not."""
        found = [journal.found(_clean_key(files), CleanResult) for files in self.files]
        return tuple(result for result in found if result is not None) if None not in found else ()

    def due(self, journal: Journal) -> Retraining | None:
        """The next training; None where all are measured. The clean model must be."""
        for files, clean in zip(self.files, self.clean(journal), strict=True):
            if clean.outcome is None:
                continue
            repeats = clean.fast and clean.repeatable
            if repeats and journal.found(NO_POISON, Repeated) is None:
                return Retraining(files.threat.id, NO_POISON, RANKING_TIER, self.prepared)
            if self._has_newcomers(files, clean) and journal.found(_newcomers_key(files), MeasuredNewcomers) is None:
                path = files.path(self._newcomers(files))
                return Retraining(files.threat.id, NEWCOMERS, RANKING_TIER, path)
            for file in self._files(files, clean, journal):
                if not file.faults and journal.found(_key(files, file), Measured) is None:
                    return Retraining(files.threat.id, file.attack, file.tier, files.path(file))
        return None

    def count(self, journal: Journal) -> tuple[int, int]:
        """How many trainings are measured, and how many there will be."""
        done = total = 0
        for files, clean in zip(self.files, self.clean(journal), strict=False):
            if clean.outcome is not None:
                known = self._files(files, clean, journal)
                done += sum(journal.found(_key(files, file), Measured) is not None for file in known)
                total += trainings(len(self._attacks(files, fast=clean.fast)))
        return done, total

    def measure_clean(
        self, cell: OpenCell, data: TaskData, models: Models, info: CheckpointInfo, machine: Machine, journal: Journal
    ) -> None:
        """Measure the cell's own model under every threat, and write it down."""
        served = models.served(cell, data, machine)
        for files in self.files:
            reason = TEXT if self.spec.poison_attacks is None and "candidate-text" in served.surfaces else ""
            began = time.perf_counter()
            outcome = None if reason else outcome_of(served, data, files, info, models.weights())
            result = CleanResult(
                outcome=outcome,
                reason=reason,
                fast=info.seconds < FAST,
                repeatable=machine.device.type == "cpu",
                filters=info.filters,
                seconds=time.perf_counter() - began,
            )
            journal.keep(_clean_key(files), result)

    def measure(
        self,
        due: Retraining,
        cell: OpenCell,
        data: TaskData,
        models: Models,
        info: CheckpointInfo,
        machine: Machine,
        journal: Journal,
    ) -> None:
        """Measure a model that was trained again on `data`, and write it down."""
        if due.attack == NO_POISON:
            journal.keep(NO_POISON, Repeated(weights=models.weights(), seconds=info.seconds))
            return
        files = next(files for files in self.files if files.threat.id == due.threat)
        began = time.perf_counter()
        if due.attack == NEWCOMERS:
            new = self._newcomers(files)
            twin, served = models.retrained_twin(cell, data, machine), models.served(cell, data, machine)
            found = newcomers_of(served, twin, data, new, files.untrained(new), info)
            seconds = info.seconds + time.perf_counter() - began
            journal.keep(_newcomers_key(files), MeasuredNewcomers(outcome=found, seconds=seconds))
            return
        file = files.file(due.attack, due.tier)
        outcome = outcome_of(models.served(cell, data, machine), data, files, info, models.weights())
        training = training_of(file, outcome, *dropped(data, file, info))
        seconds = info.seconds + time.perf_counter() - began
        journal.keep(_key(files, file), Measured(training=training, seconds=seconds))

    def outcomes(self, journal: Journal) -> tuple[TrainingDataOutcome, ...]:
        """What the record holds of each threat; DataError, RecordError where a step is missing."""
        clean = self.clean(journal)
        if len(clean) < len(self.files) or self.due(journal) is not None:
            raise RecordError("poisoned trainings are missing", where=self.spec.poisoning_path, remedy="run it again")
        found = [self._outcome(files, own, journal) for files, own in zip(self.files, clean, strict=True)]
        return (*(self._not_run(files, TEXT) for files in self.skipped), *found)

    def _not_run(self, files: PoisonedFiles, reason: str) -> TrainingDataOutcome:
        threat, chosen = files.threat, self.spec.poison_attacks
        return TrainingDataOutcome(
            threat=threat.id,
            ranked=threat.ranked and chosen is None,
            suite=POISONING_VERSION,
            attacks=self._chosen(files),
            chosen=chosen,
            sets=tuple(TargetSet(name=name, size=threat.targets) for name in threat.target_sets),
            reason=reason,
        )

    def _outcome(self, files: PoisonedFiles, clean: CleanResult, journal: Journal) -> TrainingDataOutcome:
        chosen = self.spec.poison_attacks
        if clean.outcome is None:
            return self._not_run(files, clean.reason)
        measured = [(file, journal.found(_key(files, file), Measured)) for file in self._files(files, clean, journal)]
        found = measured_by(files, clean.outcome, self._chosen(files), chosen).model_copy(
            update={
                "ranked": files.threat.ranked and chosen is None,
                "trainings": tuple(
                    one.training if one else training_of(file, clean.outcome, 0, 0) for file, one in measured
                ),
                "seconds": clean.seconds + sum(one.seconds for _, one in measured if one),
            }
        )
        repeated = journal.found(NO_POISON, Repeated)
        newcomers = journal.found(_newcomers_key(files), MeasuredNewcomers)
        checks = poisoning_checks(
            found,
            repeated.weights if repeated else None,
            newcomers.outcome if newcomers else None,
            filters=clean.filters,
        )
        return found.model_copy(update={"checks": checks})

    def _has_newcomers(self, files: PoisonedFiles, clean: CleanResult) -> bool:
        """Whether the model is trained with harmless new accounts too: where a defense, or a model that is not
        built-in, may treat these as it likes."""
        is_plain = self.spec.is_twin and whose("models", self.spec.model)[0] == BUILT_IN
        return files.threat.accounts is not None and clean.outcome is not None and not is_plain

    def _newcomers(self, files: PoisonedFiles) -> NewcomersFile:
        spec = self.spec
        of = (whose("models", spec.model)[0], whose("defenses", spec.defense)[0])
        foreign = [source for source, place in zip(sources_of(spec), of, strict=True) if place != BUILT_IN]
        return files.newcomers(self._task, spec.track, spec.source, " ".join(foreign))

    def _files(self, files: PoisonedFiles, clean: CleanResult, journal: Journal) -> list[PoisonFile]:
        """The tables in the order of their trainings: all attacks at the medium tier; then, where these are measured,
        the low and the high tier of the one that was worst."""
        standard = [files.file(name, RANKING_TIER) for name in self._attacks(files, fast=clean.fast)]
        measured = [journal.found(_key(files, file), Measured) for file in standard if not file.faults]
        if not measured or None in measured or clean.outcome is None:
            return standard
        counted = self._chosen(files)
        own = [one.training for one in measured if one is not None]
        worst = worst_of(files, clean.outcome, [one for one in own if one.attack in counted] or own)
        return standard + [files.file(worst, tier) for tier in TIERS if tier != RANKING_TIER]

    def _chosen(self, files: PoisonedFiles) -> tuple[str, ...]:
        return _counted(files.threat, self.spec.poison_attacks)

    def _attacks(self, files: PoisonedFiles, *, fast: bool) -> tuple[str, ...]:
        return _attacks(files.threat, self.spec.poison_attacks, fast=fast)


def _is_built_in_text_model(spec: CellSpec) -> bool:
    if whose("models", spec.model)[0] != BUILT_IN:
        return False
    return "candidate-text" in find_model(spec.model).value.surfaces


def trainings(attacks: int) -> int:
    """How many trainings `attacks` make: each at the medium tier, and the worst of them at the two others."""
    return attacks + 2 if attacks else 0


def trainings_of(spec: CellSpec, seconds: float) -> int:
    """How many trainings on poisoned data a cell takes whose clean training takes `seconds`."""
    if spec.poison_attacks is None and _is_built_in_text_model(spec):
        return 0
    threats = threats_of(find_task_or_card(spec.task).card, spec.poison_attacks)
    return sum(trainings(len(_attacks(threat, spec.poison_attacks, fast=seconds < FAST))) for threat in threats)


def _counted(threat: TrainingDataThreat, chosen: tuple[str, ...] | None) -> tuple[str, ...]:
    """The attacks that count."""
    if chosen is None:
        return threat.attacks
    return chosen_of(threat, chosen)


def _attacks(threat: TrainingDataThreat, chosen: tuple[str, ...] | None, *, fast: bool) -> tuple[str, ...]:
    """The attacks that run at the medium tier: those that count first."""
    counted = _counted(threat, chosen)
    if chosen is not None or not fast:
        return counted
    return tuple(dict.fromkeys([*counted, *names_of(threat)]))


def _clean_key(files: PoisonedFiles) -> str:
    return f"{files.threat.id}/clean"


def _newcomers_key(files: PoisonedFiles) -> str:
    return f"{files.threat.id}/newcomers"


def _key(files: PoisonedFiles, file: PoisonFile) -> str:
    return f"{files.threat.id}/{file.attack}/{file.tier}/{file.table}"
