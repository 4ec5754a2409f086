"""The part of a task card about attacks on the training data."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from recgauntlet.core.card_parts import CardPart, TierValues


class TrainingDataThreat(CardPart):
    """Interactions that an attacker adds to the training data, to lift target items in what a model learns.

    Either new accounts (`accounts`), with the other rules in `threats/training_data.py`, or plays put into accounts
    that exist (`insertions`), with those in `threats/insertions.py`.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    surface: Literal["training-data"]
    goal: Literal["promote"]
    active: bool
    """Whether the evaluation includes it; one that is not active is no part of the card's fingerprint."""
    ranked: bool
    accounts: TierValues | None = Field(default=None, exclude_if=lambda caps: caps is None)
    """Fake accounts, as a share of the genuine users of the training period; rounded down."""
    insertions: TierValues | None = Field(default=None, exclude_if=lambda caps: caps is None)
    """Interactions put into accounts that exist, as a share of those of the training period; rounded down."""
    collective: float | None = Field(default=None, gt=0, lt=1, exclude_if=lambda share: share is None)
    """With `insertions`: the share of the genuine users of the training period who take part. Only their accounts are
    added to, and their lists are not measured."""
    target_sets: tuple[Literal["tail", "middle", "head", "label"], ...]
    """Where targets are drawn from: the least popular, the middle and the most popular fifth of the items; or the
    least popular third, as the artists of one invented label."""
    targets: int = Field(ge=1)
    """Items of each set."""
    attacks: tuple[str, ...] = Field(default=(), exclude_if=lambda attacks: not attacks)
    """The attacks that count for ranks; every model is trained again under each of them."""
    source: str

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.accounts is None) == (self.insertions is None):
            raise ValueError('give one of "accounts" (new ones) and "insertions" (into accounts that exist)')
        if self.active and not self.attacks:
            raise ValueError('"attacks" is missing: name the attacks that count, for example ["bandwagon"]')
        if len(set(self.attacks)) != len(self.attacks):
            raise ValueError('"attacks" names one attack twice')
        if (self.collective is None) != (self.insertions is None):
            raise ValueError('"collective" and "insertions" are given together, or neither')
        return self
