"""What the edits of a record change: which examples they broke, which of these edits are natural, and medians."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recgauntlet.core.card import TIERS, Tier
from recgauntlet.core.types import BoolArray
from recgauntlet.records.columns import FloatColumn, IntColumn
from recgauntlet.records.naturalness import Naturalness
from recgauntlet.records.schema import AttackOutcome, ThreatOutcome


def broken_up_to(outcome: ThreatOutcome, tier: Tier) -> BoolArray:
    """`[B]`: the test examples that an attack broke at this tier or below."""
    broken = np.zeros(outcome.tiers[0].robust.n, dtype=np.bool_)
    for attack in attacks_up_to(outcome, tier):
        broken |= attack.broken.to_bool()
    return broken


def natural_up_to(outcome: ThreatOutcome, tier: Tier) -> BoolArray | None:
    """`[B]`: those that it broke by a natural edit; None where that was not measured."""
    natural = np.zeros_like(broken_up_to(outcome, tier))
    for attack in attacks_up_to(outcome, tier):
        passes = attack.naturalness.natural() if attack.naturalness is not None else None
        if passes is None:
            return None
        natural[np.flatnonzero(attack.broken.to_bool())[passes]] = True
    return natural


def attacks_up_to(outcome: ThreatOutcome, tier: Tier) -> list[AttackOutcome]:
    """The attacks at `tier` and the tiers below it."""
    reached = TIERS[: TIERS.index(tier) + 1]
    return [attack for one in outcome.tiers if one.tier in reached for attack in one.attacks]


def medians(found: Sequence[Naturalness]) -> tuple[float | None, float | None, float | None, float | None]:
    """The medians over all edits of words, characters, perplexity ratio and cosine; None where there are no values."""
    return (
        _median([one.words for one in found]),
        _median([one.characters for one in found]),
        _median([one.perplexity_ratio for one in found]),
        _median([one.cosine for one in found]),
    )


def values_of(column: FloatColumn | IntColumn) -> npt.NDArray[np.float64]:
    """The values `[n]` of a column."""
    values = column.to_int() if isinstance(column, IntColumn) else column.to_float()
    return values.astype(np.float64)


def _median(columns: Sequence[FloatColumn | IntColumn | None]) -> float | None:
    arrays = [values_of(column) for column in columns if column is not None]
    if len(arrays) < len(columns) or not sum(map(len, arrays)):
        return None
    return float(np.median(np.concatenate(arrays)))
