"""What all parts of a task card have, and caps in three tiers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from recgauntlet.core.names import stored

Tier = Literal["low", "standard", "high"]
Track = Literal["standard", "demo"]


class CardPart(BaseModel):
    """A part of a card: no unknown fields, never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TierValues(CardPart):
    """A cap in each of the three tiers, rising. A card may call the middle one `medium` or `standard`."""

    low: float = Field(ge=0)
    standard: float = Field(ge=0)
    high: float = Field(ge=0)

    @model_validator(mode="before")
    @classmethod
    def _stored_names(cls, caps: object) -> object:
        if not isinstance(caps, dict):
            return caps
        named = {stored("tier", str(tier)): cap for tier, cap in caps.items()}
        if len(named) < len(caps):
            raise ValueError("has a cap of one tier twice: medium and standard are the same")
        return named

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not self.low <= self.standard <= self.high:
            raise ValueError("must not fall from low over medium to high: every tier contains the one before")
        return self

    def at(self, tier: Tier) -> float:
        """The cap of `tier`."""
        return {"low": self.low, "standard": self.standard, "high": self.high}[tier]


class Negatives(CardPart):
    """What an unclicked candidate is: shown in the same impression, or drawn uniformly from what the user never took.

    `train_per_click` and `eval_per_click` are drawn per clicked item (`eval_per_click` is ignored for impressions).
    `popular_per_click` gives each test impression a second list, whose unclicked candidates are drawn by popularity.
    """

    rule: Literal["impression", "uniform-unseen"]
    train_per_click: int = Field(ge=1)
    eval_per_click: int = Field(ge=1, default=19)
    popular_per_click: int = Field(ge=0, default=0, exclude_if=lambda count: bool(count == 0))
    """0: no such lists. Left out of a card's hash where it is 0, so that older cards keep theirs."""

    @field_validator("popular_per_click")
    @classmethod
    def _popularity_needs_interactions(cls, count: int, others: ValidationInfo) -> int:
        if count and others.data.get("rule") == "impression":
            raise ValueError('needs interactions, and the rule "impression" is for data with impressions: leave it out')
        return count
