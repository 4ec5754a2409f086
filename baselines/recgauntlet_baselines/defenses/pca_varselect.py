"""PCA-VarSelect: users who vary least with all others, and share an item, are removed from training (after Mehta and
Nejdl 2009)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, eigsh
from scipy.special import rel_entr

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.training.defense import Defense
from recgauntlet_baselines._profiles import profiles, size, without_users

SPARE = 5
"""Leading components beyond the number wanted, because some may be carried by few users."""
CROWD = 0.1
"""The share of the users that must carry a component: the inverse of the sum of fourth powers of its unit vector."""

Floats = npt.NDArray[np.float64]


@dataclass(kw_only=True, eq=False)
class PCAVarSelect(Defense):
    """Users are variables: `Z` holds the profile of each, its mean taken off and divided by its deviation, and

    `distance(u) = sum over the first components v of Z Z^T of v_u^2`.

    Users with small distances vary with nobody. Fake profiles do: fillers are drawn at random, and what they have in
    common is a target, which few others have. In the paper the `r` users of the smallest distances are fake, and `r` is
    given.

    Here `r` is estimated. For each item and each `r` up to half of the users, let `h` of the `r` first users have the
    item, and `H` of all `U`; the scan statistic (Kulldorff 1997)

    `r KL(h / r, H / U) + (U - r) KL((H - h) / (U - r), H / U)` (0 where `h / r` is below `H / U`)

    says how much more common it is among them. Where its maximum over `r` and the `N` items exceeds `log(N / level)`,
    the users among the first `r` who have that item are dropped, and the rest is scanned again. So the share of fakes
    is never given, and with no item of that kind nobody is dropped.

    Deviations from the paper: the estimate above; of the first `r` users those stay who lack the item; profiles are
    binary, because there are no ratings; components carried by less than a tenth of the users are left out, because
    many fakes of one recipe vary with each other and make a component of their own.

    What it does not find: fakes that take popular items only (they vary with everybody) and fakes without a common
    item. A group of genuine users with a taste that no component carries looks like fakes.

    Parameters
    ----------
    components
        How many components are summed.
    level
        About the chance that a user is dropped from data without fakes.
    """

    citation = bibtex("mehta2009unsupervised", "kulldorff1997spatial")
    search_space: ClassVar[SearchSpace] = {
        "components": OneOf((2, 3, 4)),
        "level": Between(1e-4, 0.5, log=True),
    }

    components: int = 3
    level: float = 0.01

    def filter(self, pairs: Pairs) -> Pairs:
        users, taken = profiles(pairs)
        return without_users(pairs, users[self.suspects(taken)])

    def suspects(self, taken: sparse.csr_array) -> npt.NDArray[np.int64]:
        """The rows of `taken [U, N]` that look fake, in rising order."""
        distance = distances(taken, self.components)
        if distance is None:
            return np.zeros(0, dtype=np.int64)
        order = np.argsort(distance, kind="stable")
        threshold = np.log(size(taken)[1] / self.level)
        found: list[npt.NDArray[np.int64]] = []
        while True:
            statistic, item, first = most_shared(taken[order])
            if statistic <= threshold:
                return np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *found]))
            has = np.flatnonzero(taken[order[:first]][:, [item]].toarray()[:, 0])
            found.append(order[has])
            order = np.delete(order, has)


def distances(taken: sparse.csr_array, components: int) -> Floats | None:
    """`[U]`: the distance of each row of `taken [U, N]`; None where there are too few users for components."""
    users, _ = size(taken)
    wanted = components + SPARE
    if users <= wanted:
        return None
    mean = np.asarray(taken.mean(axis=1)).ravel()
    deviation = np.sqrt(mean * (1 - mean))
    scale = 1 / np.where(deviation > 0, deviation, np.inf)  # a user of everything varies with nobody

    def covariances(vector: Floats) -> Floats:
        """`Z Z^T vector`, without the dense `Z`."""
        weighed = vector.ravel() * scale
        by_item = taken.T @ weighed - mean @ weighed
        product: Floats = scale * (taken @ by_item - mean * by_item.sum())
        return product

    make: Any = LinearOperator
    operator = make((users, users), matvec=covariances, dtype=np.float64)
    # a start that is no multiple of an eigenvector, the same every time
    start = np.random.default_rng(0).standard_normal(users)
    _, vectors = eigsh(operator, k=wanted, v0=start)
    leading = vectors[:, ::-1]  # the largest eigenvalue first
    carried = 1 / (leading**4).sum(axis=0)
    crowd = np.flatnonzero(carried >= CROWD * users)[:components]
    squares: Floats = (leading[:, crowd] ** 2).sum(axis=1)
    return squares if len(crowd) else None


def most_shared(ordered: sparse.csr_array) -> tuple[float, int, int]:
    """The largest scan statistic over items and numbers of first rows of `ordered [U, N]`, up to half of them; the item
    and the number of rows."""
    users, _ = size(ordered)
    columns: Any = sparse.csc_array(ordered)
    columns.sort_indices()
    totals = np.diff(columns.indptr)
    item = np.repeat(np.arange(len(totals)), totals)
    # the maximum of an item lies at a row that has it, so only those are looked at
    first = columns.indices + 1
    having = np.arange(len(item)) - columns.indptr[:-1][item] + 1
    early = first <= users // 2
    item, first, having = item[early], first[early], having[early]
    if not len(item):
        return 0.0, 0, 0
    total = totals[item]
    share, within, beyond = total / users, having / first, (total - having) / (users - first)
    statistic = first * _divergence(within, share) + (users - first) * _divergence(beyond, share)
    statistic[within <= share] = 0.0
    best = int(np.argmax(statistic))
    return float(statistic[best]), int(item[best]), int(first[best])


def _divergence(p: Floats, q: Floats) -> Floats:
    """The Kullback-Leibler divergence of two chances."""
    divergence: Floats = rel_entr(p, q) + rel_entr(1 - p, 1 - q)
    return divergence
