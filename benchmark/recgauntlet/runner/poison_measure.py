"""What is measured of a model for poisoning, as a record has it, and which attack was worst."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recgauntlet.attacks.poisoning.suite import POISONING_VERSION
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import RecordError
from recgauntlet.core.recommender import Recommender
from recgauntlet.evaluation.poisoning import measure_poisoning
from recgauntlet.records.columns import BitColumn, FloatColumn, IntColumn
from recgauntlet.records.poisoning import PoisonedTraining, TrainedOutcome, TrainingDataOutcome
from recgauntlet.runner.poisoned_files import PoisonedFiles, PoisonFile
from recgauntlet.training.checkpoint import CheckpointInfo


def measured_by(
    files: PoisonedFiles, clean: TrainedOutcome, attacks: tuple[str, ...], chosen: tuple[str, ...] | None
) -> TrainingDataOutcome:
    """The outcome of a model before any poisoned training; unranked."""
    return TrainingDataOutcome(
        threat=files.threat.id,
        ranked=False,
        suite=POISONING_VERSION,
        attacks=attacks,
        chosen=chosen,
        sets=files.sets,
        users=len(files.audience.rows),
        eligible=BitColumn.of(files.audience.eligible.reshape(-1)),
        pair_users=IntColumn.of(files.pair_users),
        clean=clean,
    )


def worst_of(files: PoisonedFiles, clean: TrainedOutcome, trained: Sequence[PoisonedTraining]) -> str:
    """The attack under which the fewest pairs stay right; of equal ones the one that lifts the targets most."""
    frame = measured_by(files, clean, (), None)
    before = frame.pairs(clean)

    def harm(training: PoisonedTraining) -> tuple[float, float]:
        both = before.and_right_under([frame.pairs(training.outcome)])
        return both.accuracy(), -float(np.nanmean(frame.exposure(training.outcome).win_rate()))

    return min(trained, key=harm).attack


def outcome_of(
    served: Recommender, data: TaskData, files: PoisonedFiles, info: CheckpointInfo, weights: str
) -> TrainedOutcome:
    """What a served model does that was trained on `data`."""
    audience = files.audience
    found = measure_poisoning(served, data, audience, audience.eligible[files.pair_users])
    return TrainedOutcome(
        above=IntColumn.of(found.exposure.above.reshape(-1)),
        tied=IntColumn.of(found.exposure.tied.reshape(-1)),
        others=IntColumn.of(found.exposure.others.reshape(-1)),
        clicked=BitColumn.of(found.pairs.clicked),
        targets=BitColumn.of(found.pairs.targets.reshape(-1)),
        right=BitColumn.of(found.right),
        ndcg10=FloatColumn.of(found.ndcg10_each),
        seconds=info.seconds,
        weights=weights,
    )


def training_of(file: PoisonFile, outcome: TrainedOutcome, fakes: int, genuine: int) -> PoisonedTraining:
    """A training with a poison table, after whose filter `fakes` accounts and `genuine` users are gone."""
    return PoisonedTraining(
        attack=file.attack,
        knowledge=file.knowledge,
        hyperparameters=file.hyperparameters,
        tier=file.tier,
        accounts=file.accounts,
        rows=file.rows,
        table=file.table,
        faults=file.faults,
        dropped_fakes=fakes,
        dropped_genuine=genuine,
        genuine=file.genuine,
        outcome=outcome,
    )


def dropped(data: TaskData, file: PoisonFile, info: CheckpointInfo) -> tuple[int, int]:
    """Of how many fake and genuine users the defense's filter left no training pair, as the checkpoint states it."""
    users = data.train.users
    if info.kept is None:
        return 0, 0
    if info.kept and max(info.kept) >= len(users):
        raise RecordError("states rows of the training pairs that there are not", field="kept", remedy="run it again")
    gone = np.setdiff1d(users, users[np.array(info.kept, dtype=np.int64)])
    fakes = int(np.isin(gone, file.fakes).sum())
    return fakes, len(gone) - fakes
