"""What the journal of a cell's poisoning keeps of each training."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from recgauntlet.evaluation.newcomers import NewcomersOutcome
from recgauntlet.records.poisoning import PoisonedTraining, TrainedOutcome


class CleanResult(BaseModel):
    """The cell's own model under one threat; without an outcome where it is not trained again, for a `reason`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: TrainedOutcome | None
    reason: str
    fast: bool
    repeatable: bool
    """Whether the same training gives the same bits: on a CPU."""
    filters: bool
    """Whether the defense has a filter."""
    seconds: float


class Repeated(BaseModel):
    """A training on the genuine data again: the SHA-256 of its weights, and the seconds that it took."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: str
    seconds: float


class MeasuredNewcomers(BaseModel):
    """A training with harmless new accounts, and the seconds that training and measuring it took."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    outcome: NewcomersOutcome
    seconds: float


class Measured(BaseModel):
    """A poisoned training, and the seconds that training and measuring it took."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    training: PoisonedTraining
    seconds: float
