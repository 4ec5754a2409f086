"""The outcome of attacks on training data in a record: what models do that were trained clean and on poisoned data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from recgauntlet.core.card import TIERS, Tier
from recgauntlet.core.types import BoolArray, IntArray, Scalar
from recgauntlet.metrics.exposure import Exposure, PairOutcomes
from recgauntlet.records.columns import BitColumn, FloatColumn, IntColumn
from recgauntlet.records.parts import Gate
from recgauntlet.records.references import Part

Values = TypeVar("Values", BoolArray, IntArray)


class TargetSet(Part):
    """A set of targets: its name, and how many it has."""

    name: str
    size: int


class TrainedOutcome(Part):
    """What one model does, trained clean or poisoned. `U` users, `T` targets, `P` test pairs, `I` test impressions.

    `above`, `tied` and `others [U x T]` place each target in each user's list of all items that the user had not taken:
    candidates that score higher, that score the same, and all but the target. `clicked [P]` is whether a test click
    scores above 0, `targets [P x T]` whether each target does not; `right [2 P]` whether the examples of the test pairs
    are right, and `ndcg10 [I]` is nDCG@10 of the test impressions. `seconds` of the training, `weights` their SHA-256.
    """

    above: IntColumn
    tied: IntColumn
    others: IntColumn
    clicked: BitColumn
    targets: BitColumn
    right: BitColumn
    ndcg10: FloatColumn
    seconds: float
    weights: str


class PoisonTableRef(Part):
    """A poison table: `accounts` fake accounts, or accounts that are added to, with `rows` interactions in all, beside
    `genuine` users who have training pairs; `table` is the SHA-256 of the rows. With `faults` the verifier refused it,
    and there are no accounts."""

    attack: str
    knowledge: str
    hyperparameters: dict[str, Scalar]
    tier: Tier
    accounts: int
    rows: int
    table: str
    faults: tuple[str, ...]
    genuine: int


class PoisonedTraining(PoisonTableRef):
    """A training from scratch, by the same recipe, on genuine and fake interactions.

    With `faults` nothing was trained, and the clean model counts. `dropped_fakes` of the accounts and `dropped_genuine`
    of the genuine users had no training pair left after the defense's filter.
    """

    dropped_fakes: int
    dropped_genuine: int
    outcome: TrainedOutcome


class TrainingDataOutcome(Part):
    """One threat to training data. `attacks` are those that count for robust accuracy: the card's, or those of
    `chosen`, which a user named; `trainings` may have more.

    `reason` is why the model was not trained again; empty where it was. A threat is not `ranked` where attacks were
    chosen. `suite` is the version of the attacks, `clean` the cell's own model, `eligible [U x T]` whether a user never
    takes a target, and `pair_users [P]` the user of each test pair. `seconds` is what all trainings and their
    measurement took. `checks` are sanity checks of this measurement, which count for its own rank alone.
    """

    threat: str
    ranked: bool
    suite: str
    attacks: tuple[str, ...]
    chosen: tuple[str, ...] | None
    sets: tuple[TargetSet, ...]
    reason: str = ""
    users: int = 0
    eligible: BitColumn | None = None
    pair_users: IntColumn | None = None
    clean: TrainedOutcome | None = None
    trainings: tuple[PoisonedTraining, ...] = ()
    seconds: float = 0.0
    checks: tuple[Gate, ...] = ()

    @property
    def targets(self) -> int:
        """How many targets all sets have."""
        return sum(part.size for part in self.sets)

    @property
    def places(self) -> dict[str, slice]:
        """Where the targets of each set stand among all."""
        ends = np.cumsum([0, *(part.size for part in self.sets)]).tolist()
        return {part.name: slice(*ends[number : number + 2]) for number, part in enumerate(self.sets)}

    def eligible_bits(self) -> BoolArray:
        """`[U, T]`; without users where the model was not trained again."""
        return _matrix(self.eligible.to_bool() if self.eligible else np.zeros(0, dtype=np.bool_), self.targets)

    def users_of_pairs(self) -> IntArray:
        """`[P]`"""
        return self.pair_users.to_int() if self.pair_users else np.zeros(0, dtype=np.int64)

    def exposure(self, of: TrainedOutcome) -> Exposure:
        """Where the targets stand in the lists of the model `of`."""
        above, tied, others = (_matrix(part.to_int(), self.targets) for part in (of.above, of.tied, of.others))
        return Exposure(above, tied, others, self.eligible_bits())

    def pairs(self, of: TrainedOutcome) -> PairOutcomes:
        """Which pairs of a test click and a target the model `of` has right."""
        eligible = self.eligible_bits()[self.users_of_pairs()]
        return PairOutcomes(of.clicked.to_bool(), _matrix(of.targets.to_bool(), self.targets), eligible)

    def up_to(self, tier: Tier, attacks: Sequence[str] | None = None) -> list[PoisonedTraining]:
        """The trainings at `tier` and below it, under `attacks`: those that count where it is None."""
        names = self.attacks if attacks is None else attacks
        tiers = TIERS[: TIERS.index(tier) + 1]
        return [found for found in self.trainings if found.tier in tiers and found.attack in names]

    def at(self, attack: str, tier: Tier) -> PoisonedTraining | None:
        """The training under `attack` at `tier`; None where there was none."""
        return next((found for found in self.trainings if (found.attack, found.tier) == (attack, tier)), None)

    def robust_pairs(self, tier: Tier, attacks: Sequence[str] | None = None) -> PairOutcomes | None:
        """The pairs that are right under the clean training and every poisoned one of `up_to`: robust accuracy is their
        `accuracy`. None where there was none at `tier`."""
        found = self.up_to(tier, attacks)
        if self.clean is None or not any(training.tier == tier for training in found):
            return None
        return self.pairs(self.clean).and_right_under([self.pairs(training.outcome) for training in found])

    @property
    def attacks_run(self) -> tuple[str, ...]:
        """All attacks that models were trained under, in the order they ran."""
        return tuple(dict.fromkeys(found.attack for found in self.trainings))


def _matrix(values: Values, columns: int) -> Values:
    return values.reshape(-1, columns)
