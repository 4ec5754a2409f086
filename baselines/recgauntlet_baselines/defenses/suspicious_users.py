"""Suspicious users: users too similar to many others are removed from training (after Chirita et al. 2005)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.training.defense import Defense
from recgauntlet_baselines._profiles import profiles, size, without_users

_BLOCK = 512


@dataclass(kw_only=True, eq=False)
class SuspiciousUsers(Defense):
    """Training pairs of the share `share` of the users with the highest degree of similarity are dropped:

    `DegSim(u) = mean over the k most similar users v of <p_u, p_v> / (|p_u| |p_v| + s)`,

    where `p_u` holds `log(users / users with the item)` for each item that u clicked or has in a history, and the
    shrinkage `s` is the mean of `|p|^2`. Fake users are made by one recipe: they share a target, which few honest users
    have, so it weighs much; the popular fillers that make them look ordinary weigh little.

    A defense against training-time attacks alone. With `share` 0 it is plain training.

    Deviations from the paper: there are no ratings, so no deviation of ratings is scored beside it, and profiles are
    weighed by rarity instead of correlated; the shrinkage keeps short profiles, alike by chance, from ranking high.

    Parameters
    ----------
    share
        The share of users that is dropped, rounded down.
    neighbours
        `k`.
    """

    citation = bibtex("chirita2005preventing")
    search_space: ClassVar[SearchSpace] = {"share": Between(0.0, 0.1), "neighbours": Between(5, 50)}

    share: float = 0.02
    neighbours: int = 10

    def filter(self, pairs: Pairs) -> Pairs:
        users, degree = similarity_degree(pairs, self.neighbours)
        most_suspicious = np.argsort(-degree, kind="stable")[: int(self.share * len(users))]
        return without_users(pairs, users[most_suspicious])


def similarity_degree(pairs: Pairs, neighbours: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The users of `pairs` in rising order, `[U]`, and the degree of similarity of each, `[U]`."""
    users, taken = profiles(pairs)
    rarity = np.log(len(users) / np.maximum(1, np.bincount(taken.indices, minlength=size(taken)[1])))
    weighed = sparse.csr_array((rarity[taken.indices], taken.indices, taken.indptr), shape=taken.shape)
    squares = np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel()
    norms, shrinkage = np.sqrt(squares), float(squares.mean())
    k = min(neighbours, len(users) - 1)
    degree = np.zeros(len(users))
    for start in range(0, len(users) if k > 0 and shrinkage > 0 else 0, _BLOCK):
        block = slice(start, min(start + _BLOCK, len(users)))
        alike = (weighed[block] @ weighed.T).toarray() / (np.outer(norms[block], norms) + shrinkage)
        alike[np.arange(block.stop - start), np.arange(start, block.stop)] = 0.0
        degree[block] = np.partition(alike, -k, axis=1)[:, -k:].mean(axis=1)
    return users, degree
