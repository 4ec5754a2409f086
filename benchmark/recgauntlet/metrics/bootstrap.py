"""Bootstrap intervals over seeds and examples, p values of differences, and ranks that rows share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

DRAWS = 2000
LEVEL = 0.95
_SEED = 20240229


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval; `low` and `high` are at the level LEVEL."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RankRange:
    """A row's ranks over the draws of a joint bootstrap: the 2.5 % and 97.5 % quantiles (`low`, `high`), and the share
    of the draws in which it is the `best`. Where k rows are best in a draw, it counts 1 / k for each."""

    low: int
    high: int
    best: float

    def __str__(self) -> str:
        return f"{self.low}" if self.low == self.high else f"{self.low}–{self.high}"

    @property
    def best_percent(self) -> str:
        """P(best) as a whole percentage; ">99" and "<1" where it is neither sure nor impossible."""
        if 0 < self.best < 1:
            return ">99" if self.best > 0.995 else "<1" if self.best < 0.005 else f"{100 * self.best:.0f}"
        return f"{100 * self.best:.0f}"


def resampled_means(outcomes: Floats, *, draws: int = DRAWS, seed: int = _SEED) -> Floats:
    """Bootstrap means `[R, M]` of `outcomes [S, N, M]`: S seeds, N examples, M quantities of the same examples.

    Hierarchical: every draw resamples the seeds, and the examples once for all seeds and quantities (the seeds share
    the test examples, so they stay paired, and so do the quantities). With one seed only the examples are resampled.
    The draws depend on S and N alone.

    Source: the percentile bootstrap (Efron 1979) over the two levels that the reported mean averages over.

    Raises ValueError where there is no seed or no example.
    """
    seeds, examples, quantities = outcomes.shape
    if seeds < 1 or examples < 1:
        raise ValueError("a bootstrap needs at least one seed and one example")
    weights, counts = _draws(seed, draws, seeds, examples)
    by_example = np.asarray(outcomes, dtype=np.float64).transpose(1, 0, 2).reshape(examples, -1)
    by_seed = (counts @ by_example).reshape(draws, seeds, quantities)
    means: Floats = np.einsum("rs,rsm->rm", weights, by_seed) / (seeds * examples)
    return means


@lru_cache(maxsize=4)
def _draws(seed: int, draws: int, seeds: int, examples: int) -> tuple[Floats, Floats]:
    """How often each draw takes each seed `[R, S]` and each example `[R, N]`. Kept between calls, because most tables
    have the same numbers of both."""
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws).astype(np.float64)
    counts = np.empty((draws, examples))
    for draw in range(draws):
        counts[draw] = np.bincount(rng.integers(0, examples, size=examples), minlength=examples)
    return weights, counts


def means_by_group(
    outcomes: Floats, groups: npt.NDArray[np.int64], *, draws: int = DRAWS, seed: int = _SEED
) -> tuple[Floats, Floats]:
    """The means `[G, M]` of `outcomes [S, N, M]` in each of the groups `groups [N]` of the examples, from 0 without
    gaps, and their bootstrap means `[R, G, M]`. Examples whose group is negative are left out.

    The draws are those of `resampled_means`: an example keeps its group, and the size of a group varies. A draw without
    an example of a group takes the group's mean.

    Raises ValueError where there is no seed, or a group without an example.
    """
    member = (groups[:, None] == np.arange(groups.max(initial=-1) + 1)).astype(np.float64)
    return means_of_sums(np.einsum("ng,snm->ngsm", member, outcomes), member, draws=draws, seed=seed)


def means_of_sums(sums: Floats, sizes: Floats, *, draws: int = DRAWS, seed: int = _SEED) -> tuple[Floats, Floats]:
    """The means `[G, M]` of G groups and their bootstrap means `[R, G, M]`, from `sums [N, G, S, M]` of M quantities
    of S seeds over the examples of each of N blocks that are in a group; `sizes [N, G]` is how many these are.

    Every draw resamples the seeds, and the blocks once for all groups, seeds and quantities: a bootstrap of clusters,
    where examples of one block depend on each other. A draw without an example of a group takes the group's mean.

    Raises ValueError where there is no seed, no block, or a group without an example.
    """
    blocks, groups, seeds, quantities = sums.shape
    if not seeds or not groups or not sizes.sum(axis=0).all():
        raise ValueError("a bootstrap needs at least one seed, and an example in each group")
    weights, counts = _draws(seed, draws, seeds, blocks)
    means: Floats = sums.sum(axis=(0, 2)) / (seeds * sizes.sum(axis=0)[:, None])
    by_seed = (counts @ sums.reshape(blocks, -1)).reshape(draws, groups, seeds, quantities)
    drawn = np.einsum("rs,rgsm->rgm", weights, by_seed)
    whole = seeds * (counts @ sizes)[:, :, None]
    return means, np.divide(drawn, whole, out=np.broadcast_to(means, drawn.shape).copy(), where=whole > 0)


def crossed_means(outcomes: Sequence[Floats], *, draws: int = DRAWS, seed: int = _SEED) -> Floats:
    """Bootstrap means `[R, M]` of outcomes of pairs: for each seed `[I, U, M]`, M quantities of I items and U users.

    Every draw resamples the seeds and, for each seed, its items and its users separately: pairs that share an item or a
    user stay together.

    Source: the pigeonhole bootstrap (Owen 2007), which is conservative where items and users hardly matter.

    Raises ValueError where there is no seed, no item or no user.
    """
    if not outcomes or any(not part.size for part in outcomes):
        raise ValueError("a bootstrap needs at least one seed, one item and one user")
    rng = np.random.default_rng(seed)

    def counts(n: int) -> Floats:
        return rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)

    weights = counts(len(outcomes))
    means = np.zeros((draws, outcomes[0].shape[2]))
    for number, part in enumerate(outcomes):
        items, users, _ = part.shape
        by_item, by_user = counts(items), counts(users)
        sums = np.einsum("ru,rum->rm", by_user, np.tensordot(by_item, part, axes=1))
        means += weights[:, number, None] * sums / (items * users)
    return means / len(outcomes)


def grouped_means(
    sums: Floats, weights: Floats, groups: Sequence[slice], *, draws: int = DRAWS, seed: int = _SEED
) -> tuple[Floats, Floats]:
    """Means of outcomes of pairs of a user and a target, and their bootstrap draws.

    `sums [S, U, T, M]` are the summed outcomes of S seeds, U users and T targets in M quantities, and `weights [U, T]`
    how many pairs each sum is of; `groups` are the columns of each of K sets of targets. The means are `[K + 1, M]`: of
    each set, then of all; the draws `[R, K + 1, M]`. A mean without pairs is 0.

    Every draw resamples the seeds, the users and, within each set, the targets, once for all seeds and quantities.

    Source: the pigeonhole bootstrap (Owen 2007).

    Raises ValueError where there is no seed, no user or no target.
    """
    seeds, users, targets, quantities = sums.shape
    if not sums.size:
        raise ValueError("a bootstrap needs at least one seed, one user and one target")
    rng = np.random.default_rng(seed)

    def counts(n: int) -> Floats:
        return rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)

    by_seed, by_user = counts(seeds), counts(users)
    by_target = np.zeros((draws, targets))
    for group in groups:
        by_target[:, group] = counts(len(range(*group.indices(targets))))
    drawn = np.zeros((draws, targets, quantities))
    for number in range(seeds):
        part = (by_user @ sums[number].reshape(users, -1)).reshape(draws, targets, quantities)
        drawn += by_seed[:, number, None, None] * part / seeds
    drawn *= by_target[:, :, None]
    whole = by_target * (by_user @ weights)
    columns = [*groups, slice(None)]
    parts = np.stack([drawn[:, group].sum(axis=1) for group in columns], axis=1)
    wholes = np.stack([whole[:, group].sum(axis=1) for group in columns], axis=1)[:, :, None]
    mean = sums.mean(axis=0)
    values = np.stack([mean[:, group].sum(axis=(0, 1)) for group in columns])
    sizes = np.stack([weights[:, group].sum() for group in columns])[:, None]
    return (
        np.divide(values, sizes, out=np.zeros_like(values), where=sizes > 0),
        np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0),
    )


def estimates(values: Sequence[float], means: Floats) -> list[Estimate]:
    """Each of M `values` with the percentile interval of its bootstrap `means [R, M]`, widened to contain the value."""
    lows, highs = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [
        Estimate(value, min(low, value), max(high, value))
        for value, low, high in zip(values, lows.tolist(), highs.tolist(), strict=True)
    ]


def paired_p(differences: Floats, draws: Floats) -> Floats:
    """The two-sided p `[M]` of M mean `differences [M]` with their bootstrap means `draws [R, M]`: twice the share of
    draws that are not on the side of 0 on which the difference is, at most 1.

    A p of at most 0.05 means that at least 97.5 % of the draws are on that side: the 95 % interval does not contain 0.
    """
    p: Floats = np.minimum(1.0, 2 * (np.sign(differences) * draws <= 0).mean(axis=0))
    return p


def rank_range(behind: Floats, level: Floats, unknown: int = 0) -> RankRange:
    """The range of the ranks of one row. In each of R draws `behind [R]` rows are better than it and `level [R]` others
    are equal. `unknown` rows it cannot be compared with: they may all be behind it (`low`) or ahead of it (`high`), and
    for `best` they count as equal.

    A rank is 1 + the number of rows that are better, so equal rows share the better rank. A quantile between two ranks
    is the wider one.
    """
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(behind, tail, method="lower"), np.quantile(behind, 1 - tail, method="higher")
    best = float(np.mean((behind == 0) / (1 + level + unknown)))
    return RankRange(1 + int(low), 1 + int(high) + unknown, best)


def shared_ranks(values: Floats, better: BoolArray) -> tuple[int, ...]:
    """The rank of each of K rows by their `values [K]`, of which more is better: 1 + the number of rows that are better
    than it by the test, `better [K, K]` (row i is better than row j).

    A row that the test tells from fewer rows, because it varies more, has no better rank for it: no rank is better than
    that of a row with a higher value, rows of one value share a rank, and a row always ranks behind those that are
    better by the test.
    """
    ranks = 1 + better.sum(axis=0)
    for value in np.unique(values)[::-1]:
        same = values == value
        behind = 1 + ranks[better[:, same].any(axis=1)]
        ranks[same] = max(ranks[values >= value].max(), behind.max(initial=1))
    return tuple(ranks.tolist())
