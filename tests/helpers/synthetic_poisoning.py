"""Records with poisoning, small enough to count by hand: three users with one test pair each, two sets of targets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from synthetic_records import make_record

from recgauntlet.core.card import Tier
from recgauntlet.records.columns import BitColumn, FloatColumn, IntColumn
from recgauntlet.records.parts import Gate
from recgauntlet.records.poisoning import PoisonedTraining, TargetSet, TrainedOutcome, TrainingDataOutcome
from recgauntlet.records.schema import RunRecord

USERS, TARGETS, OTHERS, IMPRESSIONS = 3, 3, 99, 4
ELIGIBLE = [[1, 1, 1], [1, 1, 0], [1, 1, 1]]
"""The second user takes the target of the head."""


def trained(
    above: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    clicked: Sequence[int] = (1, 1, 0),
    *,
    pairs: int = USERS,
    weights: str = "w",
    ndcg10: float = 0.5,
) -> TrainedOutcome:
    """A model: how many items stand above each target of each user, which targets are right, and which clicks; test
    pairs beyond the third are the first user's again."""
    again = np.r_[np.arange(USERS), np.zeros(pairs - USERS, dtype=np.int64)]
    none = np.zeros(USERS * TARGETS, dtype=np.int64)
    click = np.array(clicked, dtype=np.bool_)[again]
    return TrainedOutcome(
        above=IntColumn.of(np.array(above, dtype=np.int64).reshape(-1)),
        tied=IntColumn.of(none),
        others=IntColumn.of(none + OTHERS),
        clicked=BitColumn.of(click),
        targets=BitColumn.of(np.array(targets, dtype=np.bool_)[again].reshape(-1)),
        right=BitColumn.of(np.repeat(click, 2)),
        ndcg10=FloatColumn.of(np.full(IMPRESSIONS, ndcg10)),
        seconds=1.5,
        weights=weights,
    )


CLEAN = trained([[90, 80, 5]] * USERS, [[1, 1, 0]] * USERS)
POISONED = trained([[40, 8, 5], [90, 80, 5], [90, 80, 5]], [[0, 1, 0], [1, 1, 0], [1, 1, 0]], ndcg10=0.4)
RANDOM = trained([[60, 70, 5]] * USERS, [[1, 1, 0]] * USERS, clicked=(1, 0, 0))


def training(attack: str, tier: Tier, outcome: TrainedOutcome, *, faults: tuple[str, ...] = ()) -> PoisonedTraining:
    return PoisonedTraining(
        attack=attack,
        knowledge="public",
        hyperparameters={},
        tier=tier,
        accounts=0 if faults else 6,
        rows=0 if faults else 60,
        table="t" * 64,
        faults=faults,
        dropped_fakes=0 if faults else 3,
        dropped_genuine=0 if faults else 9,
        genuine=60,
        outcome=outcome,
    )


def poisoning(pairs: int = USERS, *, checks: tuple[Gate, ...] = (), harm: bool = True, **changes: object) -> object:
    """The threat `brushing`: `coattails` counts and hits the first user, `random` is not on the card."""

    def model(of: TrainedOutcome, like: TrainedOutcome) -> TrainedOutcome:
        again = np.r_[np.arange(USERS), np.zeros(pairs - USERS, dtype=np.int64)]
        right = like.targets.to_bool().reshape(USERS, TARGETS)[again].reshape(-1)
        click = like.clicked.to_bool()[again]
        columns = {
            "clicked": BitColumn.of(click),
            "targets": BitColumn.of(right),
            "right": BitColumn.of(click.repeat(2)),
        }
        return of.model_copy(update=columns)

    clean, poisoned, random = (model(one, one) for one in (CLEAN, POISONED if harm else CLEAN, RANDOM))
    users = np.r_[np.arange(USERS), np.zeros(pairs - USERS, dtype=np.int64)]
    outcome = TrainingDataOutcome(
        threat="brushing",
        ranked=True,
        suite="0.1",
        attacks=("coattails",),
        chosen=None,
        sets=(TargetSet(name="tail", size=2), TargetSet(name="head", size=1)),
        users=USERS,
        eligible=BitColumn.of(np.array(ELIGIBLE, dtype=np.bool_).reshape(-1)),
        pair_users=IntColumn.of(users),
        clean=clean,
        trainings=(
            training("coattails", "standard", poisoned),
            training("random", "standard", random),
            training("coattails", "low", clean),
            training("coattails", "high", poisoned),
        ),
        seconds=9.0,
        checks=checks,
    )
    return outcome.model_copy(update=changes)


def poisoned_record(seed: int = 0, *, pairs: int = 200, outcome: object = None, **parts: object) -> RunRecord:
    """A record with poisoning whose test pairs are as many as those of `make_record`."""
    record = make_record(seed=seed, pairs=pairs, impressions=IMPRESSIONS, **parts)  # type: ignore[arg-type]
    return record.model_copy(update={"poisoning": (outcome or poisoning(pairs),)}).sealed()
