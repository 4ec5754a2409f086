"""What the schema cannot check of poisoning in a record: that columns fit together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from recgauntlet.core.errors import RecordError
from recgauntlet.records.columns import BitColumn, FloatColumn, IntColumn
from recgauntlet.records.poisoning import PoisonedTraining, TrainedOutcome, TrainingDataOutcome

Fault = tuple[str, str]
"""The field, and what is wrong with it."""


def poisoning_faults(outcomes: Sequence[TrainingDataOutcome], examples: int) -> Iterator[Fault]:
    """The faults of the poisoning in a record of `examples` test examples, the first ones first."""
    names = [outcome.threat for outcome in outcomes]
    if len(set(names)) != len(names):
        yield "poisoning", "names one threat twice"
    for outcome in outcomes:
        place = f"poisoning.{outcome.threat}"
        sets = [part.name for part in outcome.sets]
        if not sets or len(set(sets)) != len(sets) or any(part.size < 1 for part in outcome.sets):
            yield f"{place}.sets", "must name sets of at least one target, each once"
        elif bool(outcome.reason) == (outcome.clean is not None):
            yield f"{place}.reason", "must be there exactly where the model was not trained again"
        elif outcome.clean is None:
            if outcome.trainings or outcome.eligible or outcome.pair_users:
                yield place, "has results of a model that was not trained again"
        else:
            yield from _measured(outcome, outcome.clean, examples, place)


def _measured(outcome: TrainingDataOutcome, clean: TrainedOutcome, examples: int, place: str) -> Iterator[Fault]:
    pairs, cells = examples // 2, outcome.users * outcome.targets
    yield from _sized(outcome.eligible, cells, f"{place}.eligible")
    yield from _sized(outcome.pair_users, pairs, f"{place}.pair_users")
    users = outcome.users_of_pairs()
    if outcome.users < 1 or len(users) == 0 or int(users.max()) >= outcome.users:
        yield f"{place}.pair_users", "must name users that there are"
        return
    if not outcome.eligible_bits().any():
        yield f"{place}.eligible", "has no user who never takes a target"
    steps = [(training.attack, training.tier) for training in outcome.trainings]
    if len(set(steps)) != len(steps):
        yield f"{place}.trainings", "has one attack twice at one tier"
    yield from _model(clean, outcome, pairs, clean.ndcg10.n, f"{place}.clean")
    for training in outcome.trainings:
        at = f"{place}.{training.attack}.{training.tier}"
        yield from _model(training.outcome, outcome, pairs, clean.ndcg10.n, at)
        yield from _counts(training, at)


def _counts(training: PoisonedTraining, place: str) -> Iterator[Fault]:
    if min(training.rows, training.dropped_fakes, training.dropped_genuine, training.genuine) < 0:
        yield place, "must have counts of at least 0"
    if training.dropped_fakes > training.accounts or training.dropped_genuine > training.genuine:
        yield f"{place}.dropped_fakes", "drops more users than there are"
    if training.faults and training.accounts:
        yield f"{place}.faults", "must be empty where the table was used"


def _model(
    of: TrainedOutcome, outcome: TrainingDataOutcome, pairs: int, impressions: int, place: str
) -> Iterator[Fault]:
    cells = outcome.users * outcome.targets
    for name, column, size in (
        ("above", of.above, cells),
        ("tied", of.tied, cells),
        ("others", of.others, cells),
        ("clicked", of.clicked, pairs),
        ("targets", of.targets, pairs * outcome.targets),
        ("right", of.right, 2 * pairs),
        ("ndcg10", of.ndcg10, impressions),
    ):
        faults = list(_sized(column, size, f"{place}.{name}"))
        if faults:
            yield from faults
            return
    if ((of.above.to_int() + of.tied.to_int()) > of.others.to_int()).any():
        yield f"{place}.above", "places a target below the end of the list"
    gains = of.ndcg10.to_float()
    if not impressions or not ((gains >= 0) & (gains <= 1)).all():
        yield f"{place}.ndcg10", "must have values from 0 to 1"
    if not (math.isfinite(of.seconds) and of.seconds >= 0):
        yield f"{place}.seconds", "must be a time"


def _sized(column: BitColumn | IntColumn | FloatColumn | None, size: int, place: str) -> Iterator[Fault]:
    """A column of another length, or one that cannot be decoded."""
    if column is None or column.n != size:
        yield place, f"must have {size} values"
        return
    try:
        if isinstance(column, BitColumn):
            column.to_bool()
        elif isinstance(column, IntColumn):
            column.to_int()
        else:
            column.to_float()
    except RecordError as error:
        yield place, error.problem
