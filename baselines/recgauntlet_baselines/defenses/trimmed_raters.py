"""Trimmed raters: an item learns from the middle of its users alone (after Yin et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.core.types import PAD, BoolArray
from recgauntlet.training.defense import Defense
from recgauntlet_baselines._profiles import profiles, size

BLOCK = 512
"""Users at a time."""

Floats = npt.NDArray[np.float64]


@dataclass(kw_only=True, eq=False)
class TrimmedRaters(Defense):
    """A trimmed mean over the users `v` of an item `i`: of the `n` of them the `share * n` (rounded down) that agree
    least with the others, and as many that agree most, do not count.

    `agreement(u, i) = sum over the other users v of i of <p_u, p_v>`, `p` a profile of length 1 without the item `i`.

    Fakes of random fillers agree with nobody, and those of one recipe with each other more than any genuine user. Of
    what does not count, training sees nothing: pairs whose click it is are dropped, and the item leaves the user's
    histories.

    Made for `item-knn` and `bpr-mf`, in which what an item learns is a sum over its users: co-visits there, gradients
    of its vector here. It works on the data, so that both have the same; other models are trained without these
    interactions as well.

    Deviations from the paper: it trims gradients of machines, each coordinate by itself. A profile has only zeros and
    ones: to trim its coordinates would take a constant from each count of co-visits. And of an item's gradients a batch
    holds one or two. So whole contributions are ordered, by their agreement.

    Where fakes are most of an item's users, as in the tail, so are they of the middle: trimming then only lessens their
    number.

    Parameters
    ----------
    share
        What is trimmed at each end, 0 to below 0.5.
    """

    citation = bibtex("yin2018byzantine")
    search_space: ClassVar[SearchSpace] = {"share": Between(0.0, 0.3)}

    share: float = 0.15

    def filter(self, pairs: Pairs) -> Pairs:
        users, taken = profiles(pairs)
        row = np.searchsorted(users, pairs.users)
        counts = sparse.csr_array((self.in_the_middle(taken), taken.indices, taken.indptr), shape=taken.shape)
        kept = np.flatnonzero(counts[row, pairs.clicked])
        pairs, row = pairs.select(kept), row[kept]
        histories = pairs.histories
        there = histories != PAD
        there[there] = counts[np.repeat(row, there.sum(axis=1)), histories[there]]
        order = np.argsort(there, axis=1, kind="stable")  # what is left stands last, its order kept
        histories = np.take_along_axis(np.where(there, histories, PAD), order, axis=1)
        return Pairs(pairs.users, histories, pairs.clicked, pairs.unclicked)

    def in_the_middle(self, taken: sparse.csr_array) -> BoolArray:
        """For each interaction of `taken [U, N]`, in the order of its rows, whether it counts."""
        order = np.lexsort((agreements(taken), taken.indices))
        raters = np.bincount(taken.indices, minlength=size(taken)[1])
        of_item = np.repeat(raters, raters)
        place = np.arange(len(order)) - np.repeat(np.cumsum(raters) - raters, raters)
        trimmed = np.floor(self.share * of_item + 1e-9)  # 0.3 * 10 is a little below 3
        counts = np.zeros(len(order), dtype=bool)
        counts[order] = (place >= trimmed) & (place < of_item - trimmed)
        return counts


def agreements(taken: sparse.csr_array) -> Floats:
    """The agreement of each interaction of `taken [U, N]`, in the order of its rows."""
    lengths = np.sqrt(np.maximum(1, np.diff(taken.indptr)))
    unit = sparse.csr_array(sparse.diags_array(1 / lengths) @ taken)
    summed = sparse.csr_array(taken.T @ unit)  # the sum of the profiles of each item's users
    own = summed.diagonal()
    found = []
    for start in range(0, len(lengths), BLOCK):
        block = taken[start : start + BLOCK]
        rows = np.repeat(np.arange(size(block)[0]), np.diff(block.indptr))
        whole = (unit[start : start + BLOCK] @ summed.T).toarray()[rows, block.indices]
        weight = unit[start : start + BLOCK].data
        # without the item itself, and without the user's agreement with oneself
        found.append(whole - weight * own[block.indices] - (1 - weight**2))
    return np.concatenate([np.zeros(0), *found])
