"""What a row has of attacks on training data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from recgauntlet.core.card import RANKING_TIER, Tier
from recgauntlet.leaderboard.flags import Flag
from recgauntlet.metrics.bootstrap import Estimate


@dataclass(frozen=True)
class Moved:
    """A measure of one set of targets after a training: its `value`, and its `uplift` above that of the clean model."""

    value: Estimate
    uplift: Estimate


@dataclass(frozen=True)
class SetExposure:
    """One set of targets after a training: the share of pairs of a user and a target that the user never takes with the
    target in the first 10 and 50 of the user's list, and the share of a user's other items that the target outranks."""

    targets: str
    exposure10: Moved
    exposure50: Moved
    win_rate: Moved


@dataclass(frozen=True)
class Filtered:
    """What a defense's filter removed, over all seeds: the share of fakes among the users that it removed (None where
    it removed nobody), the share of the fakes that it removed, and the number of genuine users a seed."""

    precision: float | None
    recall: float
    genuine: float


@dataclass(frozen=True)
class PoisonTraining:
    """Trainings under one attack at one tier. `counted`: whether it counts for robust accuracy. `refused` is the number
    of seeds whose poison table was refused: there the clean model counts. `alone` is robust accuracy under this
    training only; `accuracy` and `ndcg10` are of the clean test examples afterwards."""

    attack: str
    knowledge: str
    tier: Tier
    counted: bool
    accounts: int
    refused: int
    alone: Estimate
    sets: tuple[SetExposure, ...]
    accuracy: Moved
    ndcg10: Moved
    seconds: float
    filtered: Annotated[Filtered | None, Field(exclude_if=lambda found: found is None)] = None


@dataclass(frozen=True)
class PoisonTier:
    """Robust accuracy at one tier, over all targets and for each set of them."""

    tier: Tier
    robust: Estimate
    by_set: tuple[tuple[str, Estimate], ...]
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class Poisoning:
    """A row under one threat to training data. With a `reason` the model was not trained again, and the rest is empty.

    `attacks` count for robust accuracy. `clean` is the share of pairs that are right before poisoning, `exposure` that
    of the clean model. `every` is robust accuracy at the medium tier under all attacks that ran, None where no more
    than those that count did. `flags` are those of this measurement; they concern the rank of poisoning alone.
    """

    threat: str
    ranked: bool
    suite: str
    attacks: tuple[str, ...]
    reason: str
    flags: tuple[Flag, ...]
    users: int = 0
    clean: Estimate | None = None
    exposure: tuple[tuple[str, Estimate, Estimate, Estimate], ...] = ()
    tiers: tuple[PoisonTier, ...] = ()
    every: Estimate | None = None
    trainings: tuple[PoisonTraining, ...] = ()

    def at(self, tier: Tier = RANKING_TIER) -> PoisonTier | None:
        """Robust accuracy at `tier`, None where no model was trained there."""
        return next((found for found in self.tiers if found.tier == tier), None)

    @property
    def worst(self) -> PoisonTraining | None:
        """The training at the medium tier that leaves the fewest pairs right, among those that count."""
        found = [one for one in self.trainings if one.tier == RANKING_TIER and one.counted]
        return min(found, key=lambda one: one.alone.value, default=None)
