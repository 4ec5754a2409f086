"""How natural the edits of a row are: the part of the leaderboard's schema between the records and every renderer."""

from __future__ import annotations

from dataclasses import dataclass

from recgauntlet.core.card import Tier
from recgauntlet.metrics.bootstrap import Estimate


@dataclass(frozen=True)
class AttackEdits:
    """The edits by which one attack by itself broke examples of the ablation, over all seeds: medians, and how many of
    them both limits let pass (`natural`). What was not measured, or has no edit, is None."""

    attack: str
    edits: int
    words: float | None
    characters: float | None
    perplexity_ratio: float | None
    cosine: float | None
    natural: int | None


@dataclass(frozen=True)
class StayBroken:
    """Of the `broken` examples those that are broken by a natural edit, over all seeds, and their share (None where
    nothing is broken)."""

    broken: int
    natural: int
    share: Estimate | None


@dataclass(frozen=True)
class NaturalEdits:
    """Edits of texts at one tier, over all seeds. `found` and `of_any` are None where no language model measured the
    edits, for the `reason` that is given.

    `found`: of all test examples that are broken at this tier or below, with the one edit that broke each: a filter
    after the search. `of_any`: of the ablation's examples that some attack breaks alone, with the edits of all attacks.
    """

    tier: Tier
    attacks: tuple[AttackEdits, ...]
    found: StayBroken | None
    of_any: StayBroken | None
    reason: str = ""
