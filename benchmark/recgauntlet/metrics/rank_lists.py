"""How alike two rankings of the same candidates are.

A ranking is given by the place `[N]` of each candidate in its impression, from 1 (`Ordered.places`: tied candidates
keep their order there, so that a list that did not change is wholly alike). Impressions are ragged, cut by
`offsets [I + 1]`.
"""

from __future__ import annotations

import numpy as np

from recgauntlet.core.types import IntArray
from recgauntlet.metrics.ordering import Floats

PERSISTENCE = 0.9
"""RBO's p: the chance that a reader goes on from a rank to the next. At 0.9 the first ten ranks carry 86 % of the
weight (Webber et al. 2010, section 4.4)."""


def rank_biased_overlap(before: IntArray, after: IntArray, offsets: IntArray, *, p: float = PERSISTENCE) -> Floats:
    """`[I]`: the rank-biased overlap of each impression's ranking before and after, 1 where nothing changed order.

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
