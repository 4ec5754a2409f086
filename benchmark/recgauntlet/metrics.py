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

from recgauntlet.data.tables import BoolArray, IntArray

Labels = BoolArray
Scores = npt.NDArray[np.floating[Any]]
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
    numbers = np.unique(groups, return_inverse=True)[1].astype(np.int64).ravel()
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
    numbers = _impression_of(labels, scores, offsets)
    values = _auc_by_group(labels, scores, numbers)[0]
    if np.isnan(values).all():
        raise ValueError("AUC needs an impression with at least one clicked and one unclicked candidate")
    return float(np.nanmean(values))


def mrr(labels: Labels, scores: Scores, offsets: IntArray) -> float:
    """The mean reciprocal rank of MIND's official evaluation.

    In an impression: the mean over its clicked candidates of 1 / rank (not only the first of them); then the
    mean over impressions. An impression without a click counts 0. With one click an impression this is the
    usual MRR.
    """
    ranked = _rank(labels, scores, offsets)
    reciprocal = np.add.reduceat(ranked.gains / ranked.ranks, ranked.starts)
    return float((reciprocal / np.maximum(ranked.positives, 1)).mean())


def ndcg(labels: Labels, scores: Scores, offsets: IntArray, k: int) -> float:
    """nDCG@k with binary gains and the discount `1 / log2(rank + 1)`, the mean over impressions.

    As in MIND's official evaluation (Järvelin and Kekäläinen 2002). An impression without a click counts 0.
    """
    return float(ndcg_each(labels, scores, offsets, k).mean())


def ndcg_each(labels: Labels, scores: Scores, offsets: IntArray, k: int) -> Floats:
    """`[I]`: the nDCG@k of each impression, as in `ndcg`."""
    if k < 1:
        raise ValueError(f"nDCG needs a cut-off of at least 1, not {k}")
    ranked = _rank(labels, scores, offsets)
    discounts = np.where(ranked.ranks <= k, 1 / np.log2(ranked.ranks + 1), 0.0)
    gained = np.add.reduceat(ranked.gains * discounts, ranked.starts)
    ideal = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(1, k + 1) + 1))])
    best = ideal[np.minimum(ranked.positives, k)]
    each: Floats = np.divide(gained, best, out=np.zeros_like(gained), where=best > 0)
    return each


def offsets_of(sizes: npt.ArrayLike) -> IntArray:
    """`[I + 1]` offsets of impressions with `sizes [I]`."""
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, dtype=np.int64))]).astype(np.int64)


@dataclass(frozen=True)
class _Ranked:
    """Candidates in order of impression and falling score: `gains [N]` (labels, averaged over ties), `ranks
    [N]` (from 1), and for each impression where it `starts [I]` and its number of `positives [I]`."""

    gains: Floats
    ranks: Floats
    starts: IntArray
    positives: IntArray


def _rank(labels: Labels, scores: Scores, offsets: IntArray) -> _Ranked:
    numbers = _impression_of(labels, scores, offsets)
    starts = offsets[:-1]
    order = np.lexsort((-scores, numbers))
    # The metrics are linear in the gains, so the mean gain of a tied block gives the expected value.
    block = _blocks(scores[order], numbers[order])
    gains = (np.bincount(block, weights=labels[order]) / np.bincount(block))[block]
    ranks = (np.arange(len(labels)) - starts[numbers] + 1).astype(np.float64)
    return _Ranked(gains, ranks, starts, np.add.reduceat(labels.astype(np.int64), starts))


def _auc_by_group(labels: Labels, scores: Scores, numbers: IntArray) -> tuple[Floats, IntArray]:
    """The AUC `[G]` of each group (NaN where its labels are all alike) and its size `[G]`; `numbers [N]` from
    0."""
    order = np.lexsort((scores, numbers))
    sizes = np.bincount(numbers)
    before = np.cumsum(sizes) - sizes
    block = _blocks(scores[order], numbers[order])
    place = np.arange(1, len(labels) + 1, dtype=np.float64)
    mean_rank = (np.bincount(block, weights=place) / np.bincount(block))[block] - before[numbers[order]]
    positive = labels[order]
    clicks = np.bincount(numbers, weights=labels)
    ranks = np.bincount(numbers[order], weights=np.where(positive, mean_rank, 0.0))
    pairs = clicks * (sizes - clicks)
    wins = ranks - clicks * (clicks + 1) / 2
    return np.divide(wins, pairs, out=np.full(len(sizes), np.nan), where=pairs > 0), sizes


def _blocks(scores: Scores, numbers: IntArray) -> IntArray:
    """The number of the block of equal (group, score) that each of the sorted candidates is in, `[N]`."""
    new = (scores[1:] != scores[:-1]) | (numbers[1:] != numbers[:-1])
    return np.concatenate([[0], np.cumsum(new)]).astype(np.int64)


def _impression_of(labels: Labels, scores: Scores, offsets: IntArray) -> IntArray:
    _check_order(labels, scores)
    sizes = np.diff(offsets)
    if len(sizes) == 0 or offsets[0] != 0 or offsets[-1] != len(labels) or (sizes < 1).any():
        raise ValueError("offsets must rise from 0 to the number of candidates, without empty impressions")
    return np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)


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
