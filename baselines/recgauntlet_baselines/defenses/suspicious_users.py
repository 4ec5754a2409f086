"""Suspicious users: users too similar to many others are removed from training (after Chirita et al. 2005)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy import sparse

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.core.types import PAD
from recgauntlet.training.defense import Defense

_BLOCK = 512


@dataclass(kw_only=True, eq=False)
class SuspiciousUsers(Defense):
    """Training pairs of the share `share` of the users with the highest degree of similarity are dropped:

    `DegSim(u) = mean over the k most similar users v of <p_u, p_v> / (|p_u| |p_v| + s)`,

    where `p_u` holds `log(users / users with the item)` for each item that u clicked or has in a history, and the
    shrinkage `s` is the mean of `|p|^2`. Fake users are made by one recipe: they share a target, which few honest users
    have, so it weighs much; the popular fillers that make them look ordinary weigh little.

    A defense against training-time attacks alone. The suite has none yet, so on the board it can only show what it
    costs. With `share` 0 it is plain training.

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
        kept = ~np.isin(pairs.users, users[most_suspicious])
        return Pairs(**{field.name: getattr(pairs, field.name)[kept] for field in fields(Pairs)})


def similarity_degree(pairs: Pairs, neighbours: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The users of `pairs` in rising order, `[U]`, and the degree of similarity of each, `[U]`."""
    users, row = np.unique(pairs.users, return_inverse=True)
    items = np.concatenate([pairs.clicked[:, None], pairs.histories], axis=1)
    rows = np.broadcast_to(row[:, None], items.shape)[items != PAD]
    columns = items[items != PAD]
    shape = (len(users), int(columns.max()) + 1)
    taken = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)
    taken.data[:] = 1.0  # duplicates were summed: an item counts once
    rarity = np.log(len(users) / np.maximum(1, np.bincount(taken.indices, minlength=shape[1])))
    profiles = sparse.csr_matrix((rarity[taken.indices], taken.indices, taken.indptr), shape=shape)
    squares = np.asarray(profiles.multiply(profiles).sum(axis=1)).ravel()
    norms, shrinkage = np.sqrt(squares), float(squares.mean())
    k = min(neighbours, len(users) - 1)
    degree = np.zeros(len(users))
    for start in range(0, len(users) if k > 0 and shrinkage > 0 else 0, _BLOCK):
        block = slice(start, min(start + _BLOCK, len(users)))
        alike = (profiles[block] @ profiles.T).toarray() / (np.outer(norms[block], norms) + shrinkage)
        alike[np.arange(block.stop - start), np.arange(start, block.stop)] = 0.0
        degree[block] = np.partition(alike, -k, axis=1)[:, -k:].mean(axis=1)
    return users, degree
