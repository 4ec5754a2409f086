"""What is measured of a model for poisoning, as a record has it, and which attack was worst."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recgauntlet.attacks.poisoning.suite import POISONING_VERSION
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import RecordError
from recgauntlet.core.protocol import SAMPLES
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import IntArray
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.evaluation.newcomers import NewcomersOutcome, Untrained, measure_gains, measure_newcomers
from recgauntlet.evaluation.poisoning import measure_poisoning
from recgauntlet.evaluation.setup import is_random
from recgauntlet.records.columns import BitColumn, FloatColumn, IntColumn
from recgauntlet.records.poisoning import PoisonedTraining, TrainedOutcome, TrainingDataOutcome
from recgauntlet.runner.poisoned_files import NewcomersFile, PoisonedFiles, PoisonFile
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
    return PoisonedTraining(**file.reference(), dropped_fakes=fakes, dropped_genuine=genuine, outcome=outcome)


def dropped(data: TaskData, file: PoisonFile, info: CheckpointInfo) -> tuple[int, int]:
    """Of how many fake and genuine users the defense's filter left no training pair, as the checkpoint states it."""
    gone = users_dropped(data, info)
    fakes = int(np.isin(gone, file.fakes).sum())
    return fakes, len(gone) - fakes


def users_dropped(data: TaskData, info: CheckpointInfo) -> IntArray:
    """`[R]`: the users whom the defense's filter left no training pair; RecordError where there are no such users."""
    gone = np.array(sorted(set(info.dropped)), dtype=np.int64)
    if not np.isin(gone, data.train.users).all():
        raise RecordError(
            "states users of the training pairs that there are not", field="dropped", remedy="run it again"
        )
    return gone


def newcomers_of(
    served: Recommender,
    twin: Recommender | None,
    data: TaskData,
    file: NewcomersFile,
    untrained: Untrained,
    info: CheckpointInfo,
) -> NewcomersOutcome:
    """What became of the harmless new accounts in `data`, on which a served model and its undefended `twin` were
    trained."""
    accounts, gone = np.array(file.accounts, dtype=np.int64), _rows_lost(data, info)
    samples = _samples(served, data)
    found = measure_newcomers(served, data, accounts, gone, samples)
    if twin is None:
        return found
    own = measure_gains(served, data, accounts, gone, untrained, samples)
    of_twin = measure_gains(twin, data, accounts, gone, untrained, _samples(twin, data))
    return found.model_copy(update={"gains": own, "twin_gains": of_twin})


def _rows_lost(data: TaskData, info: CheckpointInfo) -> IntArray:
    """`[R]`: the training pairs that the defense's filter removed; RecordError where there are no such pairs."""
    lost = np.array(sorted(set(info.lost)), dtype=np.int64)
    if len(lost) and not 0 <= lost[0] <= lost[-1] < len(data.train):
        raise RecordError("states rows of the training pairs that there are not", field="lost", remedy="run it again")
    return lost


def _samples(served: Recommender, data: TaskData) -> int:
    batch = pairs_to_batch(data.test, np.arange(len(data.test))).to(served.device)
    return SAMPLES if is_random(served, batch) else 1
