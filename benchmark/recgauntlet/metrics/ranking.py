"""Accuracy on pairs and ranking metrics on ragged impressions, vectorized.

Ties: wherever scores are equal, a metric is its expected value over all orders of the tied candidates. A
constant scorer therefore gets what a random order gets (AUC 0.5), never a perfect or a lucky rank. All
metrics but accuracy depend on the order of the scores alone.

Impressions are ragged: `labels [N]` and `scores [N]` of all candidates, cut by `offsets [I + 1]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from recgauntlet.core.types import BoolArray, IntArray

Labels = BoolArray
Floats = npt.NDArray[np.float64]
Scores = npt.NDArray[np.floating[Any]]
PERSISTENCE = 0.9
"""RBO's p: the chance that a reader goes on from a rank to the next. At 0.9 the first ten ranks carry 86 % of the
weight (Webber et al. 2010, section 4.4)."""


def correct(labels: Labels, scores: Scores) -> BoolArray:
    """`[N]`: whether a logit is on its label's side of 0.

    A logit of exactly 0 predicts "not clicked"; one that is not a finite number is wrong whatever the label.
    """
    _check(labels, scores)
    right: BoolArray = ((scores > 0) == labels) & np.isfinite(scores)
    return right


def attack_success(attackable: Floats, standing: Floats) -> Floats:
    """Attack success on what was attackable: of the examples that were right on the clean input and that a threat may
    attack (a share `attackable`), those that are no longer right (all but a share `standing`).

    Elementwise; 0 where nothing attackable was right. A threat that promotes items attacks unclicked candidates alone:
    its robust accuracy keeps the clicked ones, this does not count them.
    """
    left: Floats = np.divide(standing, attackable, out=np.ones_like(attackable), where=attackable > 0)
    return 1 - left


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


@dataclass(frozen=True)
class Ranked:
    """Impressions whose candidates were sorted by falling score, once for several metrics. All arrays but `gains` are
    in the order in which the candidates were given."""

    labels: Labels
    """`[N]`"""
    offsets: IntArray
    """`[I + 1]`"""
    places: IntArray
    """`[N]`: the rank of each candidate in its impression, from 1; tied candidates in the order they were given."""
    expected: Floats
    """`[N]`: its rank from 1, the mean over all orders of the candidates it is tied with."""
    gains: Floats
    """`[N]`: the labels by falling score, averaged over ties: metrics that are linear in them are expected values."""

    @classmethod
    def of(cls, labels: Labels, scores: Scores, offsets: IntArray) -> Ranked:
        """Sort the impressions of `labels [N]` and `scores [N]`, cut by `offsets [I + 1]`.

        Raises ValueError where a score is NaN, the shapes differ, or the offsets do not cut the candidates into
        impressions.
        """
        _check(labels, scores)
        if np.isnan(scores).any():
            raise ValueError("a score is not a number (NaN), so the candidates have no order")
        sizes = np.diff(offsets)
        if len(sizes) == 0 or offsets[0] != 0 or offsets[-1] != len(labels) or int(sizes.min()) < 1:
            raise ValueError("offsets must rise from 0 to the number of candidates, without empty impressions")
        groups = np.repeat(np.arange(len(sizes)), sizes)
        order = np.lexsort((-scores, groups))
        ranks = np.arange(1, len(labels) + 1) - np.repeat(offsets[:-1], sizes)
        fresh = np.concatenate([[True], (np.diff(groups) != 0) | (scores[order][1:] != scores[order][:-1])])
        block = np.cumsum(fresh) - 1  # of tied candidates
        counts = np.bincount(block)
        gains = (np.bincount(block, weights=labels[order]) / counts)[block]
        places, expected = np.empty_like(ranks), np.empty(len(labels))
        places[order] = ranks
        expected[order] = (ranks[fresh] + (counts - 1) / 2)[block]
        return cls(labels, offsets, places, expected, gains)

    @property
    def sizes(self) -> IntArray:
        """`[I]`: the candidates of each impression."""
        return np.diff(self.offsets)

    def auc_each(self) -> Floats:
        """`[I]`: the AUC of each impression; NaN where its labels are all alike."""
        clicks, sizes = self._sums(self.labels.astype(np.int64)), self.sizes
        below = self._sums(self.labels * (np.repeat(sizes, sizes) + 1 - self.expected))
        wins, pairs = below - clicks * (clicks + 1) / 2, clicks * (sizes - clicks)
        each: Floats = np.divide(wins, pairs, out=np.full(len(sizes), np.nan), where=pairs > 0)
        return each

    def auc(self) -> float:
        """MIND's AUC: the plain mean over impressions, which published numbers on MIND call AUC (FuxiCTR: `avgAUC`).

        Impressions without both labels are left out. Raises ValueError where none has both.
        """
        values = self.auc_each()
        if np.isnan(values).all():
            raise ValueError("AUC needs an impression with at least one clicked and one unclicked candidate")
        return float(np.nanmean(values))

    def mrr(self) -> float:
        """The mean reciprocal rank of MIND's official evaluation: in an impression the mean over its clicked candidates
        of 1 / rank (not only the first of them), 0 without a click; then the mean over impressions."""
        reciprocal = self._sums(self.gains / self._ranks)
        return float((reciprocal / np.maximum(self._sums(self.labels.astype(np.int64)), 1)).mean())

    def ndcg_each(self, k: int) -> Floats:
        """`[I]`: the nDCG@k of each impression, with binary gains and the discount `1 / log2(rank + 1)`, 0 without a
        click; as in MIND's official evaluation (Järvelin and Kekäläinen 2002)."""
        if k < 1:
            raise ValueError(f"nDCG needs a cut-off of at least 1, not {k}")
        discounts = np.zeros(max(k, int(self.sizes.max())) + 1)
        discounts[1 : k + 1] = 1 / np.log2(np.arange(1, k + 1) + 1)
        gained = self._sums(self.gains * discounts[self._ranks])
        best = np.cumsum(discounts)[np.minimum(self._sums(self.labels.astype(np.int64)), k)]
        each: Floats = np.divide(gained, best, out=np.zeros_like(gained), where=best > 0)
        return each

    @property
    def _ranks(self) -> IntArray:
        """`[N]`: the rank at each place of the sorted candidates."""
        return np.arange(1, len(self.labels) + 1) - np.repeat(self.offsets[:-1], self.sizes)

    def _sums(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`[I]`: the sum of `values [N]` in each impression."""
        found: npt.NDArray[Any] = np.add.reduceat(values, self.offsets[:-1])
        return found


class RankingMetrics(NamedTuple):
    """Ranking quality of scores on impressions. `auc` pools all candidates; `impression_auc` is the mean over
    impressions, which publications on MIND call AUC; `gauc` groups by user."""

    auc: float
    gauc: float
    impression_auc: float
    mrr: float
    ndcg5: float
    ndcg10: float


def ranking_metrics(labels: Labels, scores: Scores, sizes: IntArray, users: IntArray) -> RankingMetrics:
    """All ranking metrics of `labels [N]` and `scores [N]`, which `sizes [I]` cut into impressions of `users [I]`.

    Raises ValueError as the metrics do: where a score is NaN, the shapes differ, or there is one label alone.
    """
    ranked = Ranked.of(labels, scores, offsets_of(sizes))
    return RankingMetrics(
        auc(labels, scores),
        gauc(labels, scores, np.repeat(users, sizes)),
        ranked.auc(),
        ranked.mrr(),
        float(ranked.ndcg_each(5).mean()),
        float(ranked.ndcg_each(10).mean()),
    )


class CatalogMetrics(NamedTuple):
    """Ranking quality of clicks among all items: with one click a list, recall@10 is the hit rate."""

    recall10: float
    ndcg10: float
    mrr: float


def catalog_metrics(above: IntArray, tied: IntArray, k: int = 10) -> CatalogMetrics:
    """Recall@k, nDCG@k and MRR of `I` lists with one click each, `above [I]` items before it and `tied [I]` others of
    its score: the mean over lists of the expected value over all orders of the tied items."""
    last = above + tied + 1  # the click's rank is anywhere from above + 1 to here
    gains = np.zeros((3, int(last.max()) + 1))
    ranks = np.arange(1, gains.shape[1])
    gains[:, 1:] = ranks <= k, np.where(ranks <= k, 1 / np.log2(ranks + 1), 0.0), 1 / ranks
    sums = np.cumsum(gains, axis=1)
    return CatalogMetrics(*((sums[:, last] - sums[:, above]) / (tied + 1)).mean(axis=1).tolist())


def auc(labels: Labels, scores: Scores) -> float:
    """The area under the ROC curve over all of `labels [N]` pooled: the chance that a clicked candidate
    scores above an unclicked one, half a point for a tie. Raises ValueError unless both labels occur."""
    (value,) = Ranked.of(labels, scores, np.array([0, len(labels)])).auc_each()
    if np.isnan(value):
        raise ValueError("AUC needs at least one clicked and one unclicked candidate")
    return float(value)


def gauc(labels: Labels, scores: Scores, groups: IntArray) -> float:
    """The group AUC of the DIN paper as FuxiCTR computes it (`fuxictr.metrics.gAUC`).

    The AUC of each group (a user; `groups [N]`), averaged with the group's number of candidates as its
    weight. Groups whose labels are all alike are left out. Raises ValueError where no group is left.
    """
    if len(groups) != len(labels):
        raise ValueError(f"there are {len(groups)} groups for {len(labels)} labels")
    order = np.argsort(groups, kind="stable")
    ranked = Ranked.of(labels[order], scores[order], offsets_of(np.unique(groups, return_counts=True)[1]))
    values = ranked.auc_each()
    known = ~np.isnan(values)
    if not known.any():
        raise ValueError("gAUC needs a group with at least one clicked and one unclicked candidate")
    return float(np.average(values[known], weights=ranked.sizes[known]))


def offsets_of(sizes: npt.ArrayLike) -> IntArray:
    """`[I + 1]` offsets of impressions with `sizes [I]`."""
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, dtype=np.int64))]).astype(np.int64)


def rank_biased_overlap(before: IntArray, after: IntArray, offsets: IntArray, *, p: float = PERSISTENCE) -> Floats:
    """`[I]`: the rank-biased overlap of each impression's ranking before and after, 1 where nothing changed order.

    A ranking is given by the place `[N]` of each candidate in its impression, from 1 (`Ranked.places`: tied candidates
    keep their order there, so that a list that did not change is wholly alike).

    `RBO_EXT` of Webber, Moffat and Zobel, "A similarity measure for indefinite rankings" (TOIS 2010, equation 32),
    evaluated to the end of the list; as a measure of a recommender's stability in Oh et al., "Rank List Sensitivity of
    Recommender Systems to Interaction Perturbations" (CIKM 2022).
    """
    sizes = np.diff(offsets)
    depth = np.maximum(before, after)  # from here on both lists hold the candidate
    steps = np.arange(1, int(sizes.max()) + 1)
    weights = np.concatenate([[0.0], np.cumsum((1 - p) * p ** (steps - 1) / steps)])
    shared = np.repeat(weights[sizes], sizes) - weights[depth - 1]
    found: Floats = np.add.reduceat(shared, offsets[:-1]) + p**sizes
    return found


def top_jaccard(before: IntArray, after: IntArray, offsets: IntArray, *, k: int = 10) -> Floats:
    """`[I]`: the Jaccard similarity of each impression's first `k` before and after (Oh et al. 2022); 1 where there are
    no more than `k` candidates."""
    both = np.maximum(before, after) <= k
    shared = np.add.reduceat(both.astype(np.float64), offsets[:-1])
    found: Floats = shared / (2 * np.minimum(np.diff(offsets), k) - shared)
    return found


def _check(labels: Labels, scores: Scores) -> None:
    if labels.shape != scores.shape or labels.ndim != 1 or labels.dtype != np.bool_:
        raise ValueError(
            f"labels {labels.dtype}{labels.shape}, scores {scores.shape}: give one boolean and one float each"
        )
    if len(labels) == 0:
        raise ValueError("a metric of no candidates is not defined")
