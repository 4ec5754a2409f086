"""Accuracy on pairs and ranking metrics on ragged impressions, vectorized, with honest ties.

Ties: wherever scores are equal, a metric is its expected value over all orders of the tied candidates. A
constant scorer therefore gets what a random order gets (AUC 0.5), never a perfect or a lucky rank. All
metrics but accuracy depend on the order of the scores alone.

Impressions are ragged: `labels [N]` and `scores [N]` of all candidates, cut by `offsets [I + 1]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.metrics.ordering import Codes, Impressions, Ordered, Scores

Labels = BoolArray
Floats = npt.NDArray[np.float64]
Order = Scores | Codes
"""Scores, or codes that are ordered as they are."""


def correct(labels: Labels, scores: Scores) -> BoolArray:
    """`[N]`: whether a logit is on its label's side of 0.

    A logit of exactly 0 predicts "not clicked"; one that is not a finite number is wrong whatever the label.
    """
    _check(labels, scores)
    right: BoolArray = ((scores > 0) == labels) & np.isfinite(scores)
    return right


def accuracy(labels: Labels, scores: Scores) -> float:
    """The share of `labels [N]` that the logits `scores [N]` predict, 0 being the decision boundary.

    Raises ValueError where the shapes differ or nothing is given, as all metrics here do.
    """
    return float(correct(labels, scores).mean())


def mcc(labels: Labels, scores: Scores) -> float:
    """Matthews' correlation of the decisions of the logits `scores [N]` with `labels [N]` (Matthews 1975): 1 for all
    right, 0 for chance; 0 too where all decisions or all labels are the same."""
    _check(labels, scores)
    decisions = (scores > 0) & np.isfinite(scores)
    hits = float((decisions & labels).sum())
    made, there, count = float(decisions.sum()), float(labels.sum()), float(len(labels))
    spread = made * (count - made) * there * (count - there)
    return 0.0 if spread == 0 else (hits * count - made * there) / spread**0.5


def auc(labels: Labels, scores: Order) -> float:
    """The area under the ROC curve over all of `labels [N]` pooled: the chance that a clicked candidate
    scores above an unclicked one, half a point for a tie. Raises ValueError unless both labels occur."""
    codes = _codes(labels, scores)
    whole = Impressions(np.array([0, len(labels)]))
    (value,) = _auc_each(labels, Ordered.of(codes, np.zeros(0, dtype=np.int64), whole))
    if np.isnan(value):
        raise ValueError("AUC needs at least one clicked and one unclicked candidate")
    return float(value)


@dataclass(frozen=True)
class Grouped:
    """Candidates in groups (a user's): `numbers [N]` says which of the groups each is in, and `impressions` has the
    groups as they are if the candidates of each are put together."""

    numbers: IntArray
    impressions: Impressions

    @classmethod
    def of(cls, groups: IntArray) -> Grouped:
        """By the names of the groups, `groups [N]`."""
        runs = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))  # a user's candidates stand together
        numbers = np.unique(groups[runs], return_inverse=True)[1].astype(np.int64).ravel()
        numbers = np.repeat(numbers, np.diff(np.append(runs, len(groups))))
        return cls(numbers, Impressions(offsets_of(np.bincount(numbers))))


def gauc(labels: Labels, scores: Order, groups: IntArray | Grouped) -> float:
    """The group AUC of the DIN paper as FuxiCTR computes it (`fuxictr.metrics.gAUC`).

    The AUC of each group (a user; `groups [N]`), averaged with the group's number of candidates as its
    weight. Groups whose labels are all alike are left out. Raises ValueError where no group is left.
    """
    codes = _codes(labels, scores)
    grouped = groups if isinstance(groups, Grouped) else Grouped.of(groups)
    if len(grouped.numbers) != len(labels):
        raise ValueError(f"{len(grouped.numbers)} groups stand for {len(labels)} labels")
    ordered = Ordered.of(codes, grouped.numbers, grouped.impressions)
    values = _auc_each(labels, ordered)
    known = ~np.isnan(values)
    if not known.any():
        raise ValueError("gAUC needs a group with at least one clicked and one unclicked candidate")
    return float(np.average(values[known], weights=ordered.groups.sizes[known]))


def impression_auc(labels: Labels, scores: Order, offsets: IntArray) -> float:
    """MIND's AUC: the plain mean of the AUC of each impression. Raises ValueError where no impression has
    both labels.

    This is what published numbers on MIND call AUC (FuxiCTR: `avgAUC`). Impressions without both labels are
    left out.
    """
    return Ranked.of(labels, scores, Impressions(offsets)).auc()


def mrr(labels: Labels, scores: Order, offsets: IntArray) -> float:
    """The mean reciprocal rank of MIND's official evaluation.

    In an impression: the mean over its clicked candidates of 1 / rank (not only the first of them); then the
    mean over impressions. An impression without a click counts 0. With one click an impression this is the
    usual MRR.
    """
    return Ranked.of(labels, scores, Impressions(offsets)).mrr()


def ndcg(labels: Labels, scores: Order, offsets: IntArray, k: int) -> float:
    """nDCG@k with binary gains and the discount `1 / log2(rank + 1)`, the mean over impressions.

    As in MIND's official evaluation (Järvelin and Kekäläinen 2002). An impression without a click counts 0.
    """
    return float(ndcg_each(labels, scores, offsets, k).mean())


def ndcg_each(labels: Labels, scores: Order, offsets: IntArray, k: int) -> Floats:
    """`[I]`: the nDCG@k of each impression, as in `ndcg`."""
    return Ranked.of(labels, scores, Impressions(offsets)).ndcg_each(k)


@dataclass(frozen=True)
class Ranked:
    """Impressions sorted once for several metrics. `gains [N]` are the `labels [N]` in the order of falling scores,
    averaged over ties: the metrics are linear in them, so this gives the expected value. `positives [I]` is how many
    are clicked in each impression."""

    labels: Labels
    ordered: Ordered
    gains: Floats
    positives: IntArray

    @classmethod
    def of(cls, labels: Labels, scores: Order, impressions: Impressions) -> Ranked:
        """The `impressions` of `labels [N]` and `scores [N]`."""
        codes = _codes(labels, scores)
        offsets, sizes = impressions.offsets, impressions.sizes
        if len(sizes) == 0 or offsets[0] != 0 or offsets[-1] != len(labels) or int(sizes.min()) < 1:
            raise ValueError("offsets must rise from 0 to the number of candidates, without empty impressions")
        ordered = Ordered.of(codes, impressions.numbers, impressions)
        positives = impressions.sums(labels.astype(np.int64))
        return cls(labels, ordered, ordered.tied_means(labels[ordered.order]), positives)

    @property
    def impressions(self) -> Impressions:
        """What was sorted."""
        return self.ordered.groups

    def auc(self) -> float:
        """As `impression_auc`."""
        values = _auc_each(self.labels, self.ordered)
        if np.isnan(values).all():
            raise ValueError("AUC needs an impression with at least one clicked and one unclicked candidate")
        return float(np.nanmean(values))

    def mrr(self) -> float:
        """As the function `mrr`."""
        reciprocal = self.impressions.sums(self.gains / self.impressions.ranks)
        return float((reciprocal / np.maximum(self.positives, 1)).mean())

    def ndcg_each(self, k: int) -> Floats:
        """`[I]`: the nDCG@k of each impression."""
        if k < 1:
            raise ValueError(f"nDCG needs a cut-off of at least 1, not {k}")
        discounts = np.zeros(max(k, int(self.impressions.sizes.max())) + 1)
        discounts[1 : k + 1] = 1 / np.log2(np.arange(1, k + 1) + 1)
        gained = self.impressions.sums(self.gains * discounts[self.impressions.ranks])
        best = np.cumsum(discounts)[np.minimum(self.positives, k)]
        each: Floats = np.divide(gained, best, out=np.zeros_like(gained), where=best > 0)
        return each


def offsets_of(sizes: npt.ArrayLike) -> IntArray:
    """`[I + 1]` offsets of impressions with `sizes [I]`."""
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, dtype=np.int64))]).astype(np.int64)


def _auc_each(labels: Labels, ordered: Ordered) -> Floats:
    """`[G]`: the AUC of each group of `labels [N]` (NaN where those of a group are all alike)."""
    sizes = ordered.groups.sizes
    at = np.flatnonzero(labels[ordered.order])
    group = ordered.groups.at(at)
    clicks = np.bincount(group, minlength=len(sizes))
    ranks = np.bincount(group, weights=sizes[group] + 1 - ordered.expected_ranks(at), minlength=len(sizes))
    wins, pairs = ranks - clicks * (clicks + 1) / 2, clicks * (sizes - clicks)
    found: Floats = np.divide(wins, pairs, out=np.full(len(sizes), np.nan), where=pairs > 0)
    return found


def _codes(labels: Labels, scores: Order) -> Codes:
    if isinstance(scores, Codes):
        _check(labels, scores.values)
        return scores
    _check(labels, scores)
    if np.isnan(scores).any():
        raise ValueError("a score is not a number (NaN), so the candidates have no order")
    return Codes.of(scores)


def _check(labels: Labels, scores: npt.NDArray[Any]) -> None:
    if labels.shape != scores.shape or labels.ndim != 1 or labels.dtype != np.bool_:
        raise ValueError(
            f"labels {labels.dtype}{labels.shape}, scores {scores.shape}: give one boolean and one float each"
        )
    if len(labels) == 0:
        raise ValueError("a metric of no candidates is not defined")
