"""Ranks with honest ties, and how alike two rankings of the same candidates are.

Impressions are ragged as in `metrics`: scores of all candidates `[N]`, cut by `offsets [I + 1]`.
"""

from __future__ import annotations

import numpy as np

from recgauntlet.data.tables import IntArray
from recgauntlet.metrics import Floats, Scores

PERSISTENCE = 0.9
"""RBO's p: the chance that a reader goes on from a rank to the next. At 0.9 the first ten ranks carry 86 % of the
weight (Webber et al. 2010, section 4.4)."""


def expected_ranks(scores: Scores, offsets: IntArray) -> Floats:
    """`[N]`: each candidate's rank in its impression, from 1, the mean over all orders of the tied candidates."""
    numbers = _numbers(offsets)
    order = np.lexsort((-scores, numbers))
    new = (scores[order][1:] != scores[order][:-1]) | (numbers[order][1:] != numbers[order][:-1])
    block = np.concatenate([[0], np.cumsum(new)]).astype(np.int64)
    place = np.arange(len(scores)) - offsets[:-1][numbers] + 1.0
    ranks = np.empty(len(scores))
    ranks[order] = (np.bincount(block, weights=place) / np.bincount(block))[block]
    return ranks


def rank_biased_overlap(before: Scores, after: Scores, offsets: IntArray, *, p: float = PERSISTENCE) -> Floats:
    """`[I]`: the rank-biased overlap of each impression's ranking before and after, 1 where nothing changed order.

    `RBO_EXT` of Webber, Moffat and Zobel, "A similarity measure for indefinite rankings" (TOIS 2010, equation 32),
    evaluated to the end of the list; as a measure of a recommender's stability in Oh et al., "Rank List Sensitivity of
    Recommender Systems to Interaction Perturbations" (CIKM 2022). Tied candidates keep their order in the impression,
    in both rankings, so that a list that did not change is wholly alike.
    """
    sizes = np.diff(offsets)
    depth = np.maximum(_places(before, offsets), _places(after, offsets))  # from here on both lists hold the candidate
    steps = np.arange(1, int(sizes.max()) + 1)
    weights = np.concatenate([[0.0], np.cumsum((1 - p) * p ** (steps - 1) / steps)])
    shared = weights[sizes[_numbers(offsets)]] - weights[depth - 1]
    found: Floats = np.add.reduceat(shared, offsets[:-1]) + p**sizes
    return found


def top_jaccard(before: Scores, after: Scores, offsets: IntArray, *, k: int = 10) -> Floats:
    """`[I]`: the Jaccard similarity of each impression's first `k` before and after (Oh et al. 2022); 1 where there are
    no more than `k` candidates. Ties as in `rank_biased_overlap`."""
    both = np.maximum(_places(before, offsets), _places(after, offsets)) <= k
    shared = np.add.reduceat(both.astype(np.float64), offsets[:-1])
    found: Floats = shared / (2 * np.minimum(np.diff(offsets), k) - shared)
    return found


def _places(scores: Scores, offsets: IntArray) -> IntArray:
    """`[N]`: the rank from 1, ties in the order of the candidates."""
    numbers = _numbers(offsets)
    order = np.lexsort((-scores, numbers))
    places = np.empty(len(scores), dtype=np.int64)
    places[order] = np.arange(len(scores)) - offsets[:-1][numbers] + 1
    return places


def _numbers(offsets: IntArray) -> IntArray:
    return np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))
