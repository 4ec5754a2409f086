"""Accuracy on pairs and ranking metrics on ragged impressions, vectorized, with honest ties.

Ties: wherever scores are equal, a metric is its expected value over all orders of the tied candidates. A
constant scorer therefore gets what a random order gets (AUC 0.5), never a perfect or a lucky rank. All
metrics but accuracy depend on the order of the scores alone.

Impressions are ragged: `labels [N]` and `scores [N]` of all candidates, cut by `offsets [I + 1]`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from recgauntlet.data.tables import BoolArray, IntArray
from recgauntlet.ordering import Ordered, Scores, codes, keys

Labels = BoolArray
Floats = npt.NDArray[np.float64]


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


def auc(labels: Labels, scores: Scores) -> float:
    """The area under the ROC curve over all of `labels [N]` pooled: the chance that a clicked candidate
    scores above an unclicked one, half a point for a tie. Raises ValueError unless both labels occur."""
    _check_order(labels, scores)
    value = _auc_by_group(labels, scores, np.zeros(len(labels), dtype=np.int64))[0][0]
    if np.isnan(value):
        raise ValueError("AUC needs at least one clicked and one unclicked candidate")
    return float(value)


def gauc(labels: Labels, scores: Scores, groups: IntArray) -> float:
    """The group AUC of the DIN paper as FuxiCTR computes it (`fuxictr.metrics.gAUC`).

    The AUC of each group (a user; `groups [N]`), averaged with the group's number of candidates as its
    weight. Groups whose labels are all alike are left out. Raises ValueError where no group is left.
    """
    _check_order(labels, scores)
    if len(groups) != len(labels):
        raise ValueError(f"{len(groups)} groups stand for {len(labels)} labels")
    runs = np.flatnonzero(np.concatenate([[True], groups[1:] != groups[:-1]]))  # a user's candidates stand together
    numbers = np.unique(groups[runs], return_inverse=True)[1].astype(np.int64).ravel()
    numbers = np.repeat(numbers, np.diff(np.append(runs, len(groups))))
    values, sizes = _auc_by_group(labels, scores, numbers)
    known = ~np.isnan(values)
    if not known.any():
        raise ValueError("gAUC needs a group with at least one clicked and one unclicked candidate")
    return float(np.average(values[known], weights=sizes[known]))


def impression_auc(labels: Labels, scores: Scores, offsets: IntArray) -> float:
    """MIND's AUC: the plain mean of the AUC of each impression. Raises ValueError where no impression has
    both labels.

    This is what published numbers on MIND call AUC (FuxiCTR: `avgAUC`). Impressions without both labels are
    left out.
    """
    return Ranked.of(labels, scores, offsets).auc()


def mrr(labels: Labels, scores: Scores, offsets: IntArray) -> float:
    """The mean reciprocal rank of MIND's official evaluation.

    In an impression: the mean over its clicked candidates of 1 / rank (not only the first of them); then the
    mean over impressions. An impression without a click counts 0. With one click an impression this is the
    usual MRR.
    """
    return Ranked.of(labels, scores, offsets).mrr()


def ndcg(labels: Labels, scores: Scores, offsets: IntArray, k: int) -> float:
    """nDCG@k with binary gains and the discount `1 / log2(rank + 1)`, the mean over impressions.

    As in MIND's official evaluation (Järvelin and Kekäläinen 2002). An impression without a click counts 0.
    """
    return Ranked.of(labels, scores, offsets).ndcg(k)


def ndcg_each(labels: Labels, scores: Scores, offsets: IntArray, k: int) -> Floats:
    """`[I]`: the nDCG@k of each impression, as in `ndcg`."""
    return Ranked.of(labels, scores, offsets).ndcg_each(k)


@dataclass(frozen=True)
class Ranked:
    """Impressions sorted once for several metrics. `clicked [N]` are the labels in the order of falling scores, `gains
    [N]` the same averaged over ties (the metrics are linear in them, so this gives the expected value), and `positives
    [I]` how many are clicked in each impression."""

    ordered: Ordered
    clicked: BoolArray
    gains: Floats
    positives: IntArray

    @classmethod
    def of(cls, labels: Labels, scores: Scores, offsets: IntArray) -> Ranked:
        """The impressions of `labels [N]` and `scores [N]`."""
        _check_impressions(labels, scores, offsets)
        ordered = Ordered.of(scores, offsets)
        clicked = labels[ordered.order]
        positives = np.add.reduceat(labels.astype(np.int64), offsets[:-1])
        return cls(ordered, clicked, ordered.tied_means(clicked), positives)

    def auc(self) -> float:
        """As `impression_auc`."""
        sizes, clicks = self.ordered.sizes, self.positives.astype(np.float64)
        from_below = np.repeat(sizes + 1, sizes) - self.ordered.tied_means(self.ordered.ranks)
        values = _auc_of(self._sums(np.where(self.clicked, from_below, 0.0)), clicks, sizes)
        if np.isnan(values).all():
            raise ValueError("AUC needs an impression with at least one clicked and one unclicked candidate")
        return float(np.nanmean(values))

    def mrr(self) -> float:
        """As the function `mrr`."""
        return float((self._sums(self.gains / self.ordered.ranks) / np.maximum(self.positives, 1)).mean())

    def ndcg(self, k: int) -> float:
        """As the function `ndcg`."""
        return float(self.ndcg_each(k).mean())

    def ndcg_each(self, k: int) -> Floats:
        """`[I]`: the nDCG@k of each impression."""
        if k < 1:
            raise ValueError(f"nDCG needs a cut-off of at least 1, not {k}")
        discounts = np.zeros(max(k, int(self.ordered.sizes.max())) + 1)
        discounts[1 : k + 1] = 1 / np.log2(np.arange(1, k + 1) + 1)
        gained = self._sums(self.gains * discounts[self.ordered.ranks])
        best = np.cumsum(discounts)[np.minimum(self.positives, k)]
        each: Floats = np.divide(gained, best, out=np.zeros_like(gained), where=best > 0)
        return each

    def _sums(self, values: Floats) -> Floats:
        """`[I]`: the sum of each impression's `values`."""
        return np.add.reduceat(values, self.ordered.offsets[:-1])


def offsets_of(sizes: npt.ArrayLike) -> IntArray:
    """`[I + 1]` offsets of impressions with `sizes [I]`."""
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, dtype=np.int64))]).astype(np.int64)


def _auc_by_group(labels: Labels, scores: Scores, numbers: IntArray) -> tuple[Floats, IntArray]:
    """The AUC `[G]` of each group (NaN where its labels are all alike) and its size `[G]`; `numbers [N]` from
    0."""
    sizes = np.bincount(numbers)
    found, bits = codes(scores)
    key = keys((numbers, len(sizes).bit_length()), (found, bits), (labels, 1))
    assert key is not None  # two numbers below N and a bit
    key.sort()
    positive = (key & key.dtype.type(1)).astype(np.bool_)
    tied = key >> key.dtype.type(1)
    blocks = np.flatnonzero(np.concatenate([[True], tied[1:] != tied[:-1]]))
    counts = np.diff(np.append(blocks, len(key)))
    starts = np.cumsum(sizes) - sizes
    # The mean rank of a block, from 1, in its group.
    means = blocks + (counts + 1) / 2 - np.repeat(starts, sizes)[blocks]
    of_block = np.add.reduceat(positive.astype(np.float64), blocks)
    group_of_block = np.repeat(np.arange(len(sizes)), sizes)[blocks]
    clicks, ranks = (
        np.bincount(group_of_block, weights=weights).astype(np.float64) for weights in (of_block, of_block * means)
    )
    return _auc_of(ranks, clicks, sizes), sizes


def _auc_of(ranks: Floats, clicks: Floats, sizes: IntArray) -> Floats:
    """The AUC of groups from the sums of the ranks of their clicked candidates, the lowest score being rank 1."""
    pairs = clicks * (sizes - clicks)
    wins = ranks - clicks * (clicks + 1) / 2
    found: Floats = np.divide(wins, pairs, out=np.full(len(sizes), np.nan), where=pairs > 0)
    return found


def _check_impressions(labels: Labels, scores: Scores, offsets: IntArray) -> None:
    _check_order(labels, scores)
    sizes = np.diff(offsets)
    if len(sizes) == 0 or offsets[0] != 0 or offsets[-1] != len(labels) or (sizes < 1).any():
        raise ValueError("offsets must rise from 0 to the number of candidates, without empty impressions")


def _check(labels: Labels, scores: Scores) -> None:
    if labels.shape != scores.shape or labels.ndim != 1 or labels.dtype != np.bool_:
        raise ValueError(
            f"labels {labels.dtype}{labels.shape}, scores {scores.shape}: give one boolean and one float each"
        )
    if len(labels) == 0:
        raise ValueError("a metric of no candidates is not defined")


def _check_order(labels: Labels, scores: Scores) -> None:
    _check(labels, scores)
    if np.isnan(scores).any():
        raise ValueError("a score is not a number (NaN), so the candidates have no order")
