"""Parts that several outcomes of a record have: what an attack asked for, and sanity checks."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt

from recgauntlet.records.references import Part

LISTED = 50
"""Test examples that a check lists at most."""


class AttackEffort(Part):
    """What one attack asked of the victim, over all examples it was given. `queries` are scored inputs, the unit of the
    budget; `forwards` and `backwards` are passes of the model: several a query where it is random, none where an attack
    before it had asked for the same input (`cache_hits`)."""

    queries: int = 0
    forwards: int
    backwards: int
    user_encodings: int
    cache_hits: int
    seconds: float


class Gate(Part):
    """A sanity check of the evaluation or of the model. A row with a failed check is shown, flagged and unranked."""

    name: str
    threat: str
    """The threat of the check; empty for checks of the model."""
    passed: bool
    value: float
    limit: float
    explanation: str
    """What was found."""
    remedy: str = ""
    """What to do about it."""
    examples: tuple[NonNegativeInt, ...] = Field(default=(), max_length=LISTED, exclude_if=lambda found: not found)
    """The numbers of the test examples that were found, the first LISTED; not written where there are none."""
