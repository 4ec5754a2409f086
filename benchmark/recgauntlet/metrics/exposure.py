"""Where items stand in users' lists; for attacks on training data, which pairs of a click and a target are right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.metrics.ranking import Floats, Scores


@dataclass(frozen=True)
class Exposure:
    """Where the targets stand in the users' lists of all items that they had not taken.

    above, tied
        `[U, T]` candidates that score higher than the target, and others that score the same.
    others
        `[U, T]` candidates beside the target.
    eligible
        `[U, T]` as in `Audience`.
    """

    above: IntArray
    tied: IntArray
    others: IntArray
    eligible: BoolArray

    def in_top(self, k: int) -> Floats:
        """`[U, T]`: the chance that the target is among the first `k`, over all orders of tied candidates; NaN where
        the pair is not eligible. The mean is ER@k (PoisonRec, FedRecAttack)."""
        chance = np.clip((k - self.above) / (self.tied + 1), 0.0, 1.0)
        return np.where(self.eligible, chance, np.nan)

    def win_rate(self) -> Floats:
        """`[U, T]`: the share of the other candidates that the target outranks, and half of those it is tied with; NaN
        where the pair is not eligible."""
        won = self.others - self.above - self.tied / 2
        return np.where(self.eligible, won / np.maximum(1, self.others), np.nan)


@dataclass(frozen=True)
class PairOutcomes:
    """Whether pairs of a genuine test click and a target are right, each example by its side of 0 as everywhere.

    clicked
        `[P]` whether the click of the test pair scores above 0.
    targets
        `[P, T]` whether the target does not.
    eligible
        `[P, T]` whether the pair counts: the user never takes the target.
    """

    clicked: BoolArray
    targets: BoolArray
    eligible: BoolArray

    def and_right_under(self, others: Sequence[PairOutcomes]) -> PairOutcomes:
        """Right here and under every one of `others`: the worst case per example."""
        clicked, targets = self.clicked.copy(), self.targets.copy()
        for other in others:
            clicked &= other.clicked
            targets &= other.targets
        return replace(self, clicked=clicked, targets=targets)

    def accuracy(self, columns: IntArray | slice = slice(None)) -> float:
        """The share of right examples, two a pair, over the pairs with the targets at `columns`; NaN without pairs."""
        eligible = self.eligible[:, columns]
        right = (self.clicked[:, None].astype(np.float64) + self.targets[:, columns]) / 2
        return float(right[eligible].mean()) if eligible.any() else float("nan")


def top_chances(scores: Scores, k: int) -> Floats:
    """`[N]`: the chance that each of `scores [N]` is among the first `k`, over all orders of tied ones."""
    if len(scores) <= k:
        return np.ones(len(scores))
    last = np.partition(scores, -k)[-k]
    above, tied = scores > last, scores == last
    found: Floats = above + tied * ((k - above.sum()) / tied.sum())
    return found
