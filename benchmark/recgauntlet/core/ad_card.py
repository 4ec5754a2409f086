"""The part of a task card about simulated ads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from recgauntlet.core.card_parts import CardPart, TierValues, Track


class AdThreat(CardPart):
    """Users who edit their own history so that fewer ads are shown to them. The sponsorship is simulated.

    In each of `draws` draws, `share` of the catalog is sponsored, drawn alike from the five fifths of the items by
    popularity in the training period. A list has `organic` candidates that are not sponsored and `sponsored` that are.
    The platform ranks by score, to which it adds an offset for sponsored items: one number for a model, such that on
    lists of validation users `shown` of the first ten places are sponsored. The first draw is the measurement; the
    others are controls.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    surface: Literal["history"]
    goal: Literal["suppress-set"]
    operations: tuple[Literal["insert", "delete"], ...] = Field(min_length=1)
    edits: TierValues
    window: int = Field(ge=1)
    """Only the last `window` items may change."""
    queries: TierValues
    """Lists that an attack may ask for per user (a gradient counts as one)."""
    utility: float = Field(gt=0, le=1)
    """The share of the clean nDCG@10 among the organic candidates that an edit must keep to be legal."""
    share: float = Field(gt=0, lt=1)
    shown: float = Field(gt=0, lt=1)
    organic: int = Field(ge=11)
    sponsored: int = Field(ge=1)
    relevant: int = Field(ge=1)
    """The most organic candidates of a list that the user took in its period."""
    lists: dict[Track, int]
    """The most lists of a track, one a user, in the validation period and as many in the test period."""
    draws: int = Field(ge=1, default=2)
    source: str
    """Where the budget comes from; "ours" for design decisions of this project."""
