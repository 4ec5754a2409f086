"""Bootstrap intervals over seeds and examples, and ranks that rows with overlapping intervals share.

What is drawn depends on the numbers of seeds and examples alone, so it is kept between calls. Outcomes that are whole
or half numbers (an example is right or wrong, a pair half right) are summed in single precision: no sum is rounded as
long as it is below 2^24, so the means are those of double precision, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Sums = npt.NDArray[np.floating[Any]]


DRAWS = 2000
LEVEL = 0.95
_SEED = 20240229
_CHUNK = 2_000_000
"""Resampled examples held in memory at a time."""
_KEPT = 8
"""Numbers of seeds and examples whose draws are kept, each at most _CHUNK floats."""
_WHOLE = 2**24
"""Single precision holds every whole number up to here."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval; `low` and `high` are at the level LEVEL."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Resampled:
    """Bootstrap sums `[R, M]` of M quantities, and what they are to be divided by to be means. Sums in single precision
    are whole numbers."""

    sums: Sums
    divisor: float

    def means(self) -> Floats:
        """`[R, M]`."""
        found: Floats = self.sums.astype(np.float64) / self.divisor
        return found

    def estimates(self, values: Sequence[float]) -> list[Estimate]:
        """Each of M `values` with the percentile interval of its means, widened to hold the value itself."""
        last = len(self.sums) - 1
        place = last * np.array([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        below = np.floor(place).astype(np.int64)
        part, above = place - below, np.minimum(below + 1, last)
        rows = self._rows_in_order()
        # Means are in the order of sums.
        lower, upper = (rows[:, at].astype(np.float64) / self.divisor for at in (below, above))
        step = upper - lower
        # As np.quantile has it, to the last bit: from the nearer of the two.
        bounds = np.where(part < 0.5, lower + step * part, upper - step * (1 - part))
        bounds[np.isnan(rows[:, -1])] = np.nan
        return [
            Estimate(value, min(low, value), max(high, value))
            for value, (low, high) in zip(values, bounds.tolist(), strict=True)
        ]

    def _rows_in_order(self) -> npt.NDArray[Any]:
        """`[M, R]`: the sums of each quantity, sorted."""
        if self.sums.dtype == np.float32 and self.sums.min() >= 0 and self.sums.max() < 2**16:
            whole = self.sums.T.astype(np.uint16, order="C")
            whole.sort(axis=1, kind="stable")  # in the time that it takes to count
            return whole
        rows = np.array(self.sums.T, order="C")
        rows.sort(axis=1)  # sooner than a partition, for which numpy has no vectors
        return rows


def resampled(outcomes: Floats, *, draws: int = DRAWS, seed: int = _SEED) -> Resampled:
    """Bootstrap sums of `outcomes [S, N, M]`: S seeds, N examples, M quantities of the same examples. The draws come in
    no order that means anything.

    Hierarchical: every draw resamples the seeds, and the examples once for all seeds and quantities (the
    seeds share the test examples, so they stay paired, and so do the quantities). With one seed only the
    examples are resampled. The same outcomes give the same sums wherever they are computed. Raises
    ValueError where there is nothing to draw from.

    Source: the percentile bootstrap (Efron 1979) over the two levels that the reported mean averages over.
    """
    return _resampled(*_summable(outcomes, outcomes.shape[0] * outcomes.shape[1]), draws, seed)


def resampled_counts(counts: npt.NDArray[np.uint8], of: int) -> Resampled:
    """As `resampled` of `counts / of`, sooner: `counts [S, N, M]` from 0 to `of`."""
    if of * counts.shape[0] * counts.shape[1] < _WHOLE:
        return _resampled(counts.astype(np.float32), of, DRAWS, _SEED)
    return resampled(counts / of)


def _resampled(values: Sums, times: int, draws: int, seed: int) -> Resampled:
    """Of `values [S, N, M]`, which are outcomes `times` too large; those in single precision are whole numbers that no
    sum of them can round."""
    seeds, examples, quantities = values.shape
    if seeds < 1 or examples < 1:
        raise ValueError("a bootstrap needs at least one seed and one example")
    divisor = float(times * seeds * examples)
    exact = values.dtype == np.float32
    if exact and (groups := _kept_groups(seed, draws, seeds, examples)) is not None:
        # Sums that are not rounded may be taken over the seeds first, once for all draws that weigh them alike.
        over_seeds = (groups.weights @ values.reshape(seeds, -1)).reshape(-1, examples, quantities)
        found = [counts @ part for counts, part in zip(groups.counts, over_seeds, strict=True)]
        return Resampled(np.concatenate(found), divisor)
    by_example = values.transpose(1, 0, 2).reshape(examples, seeds * quantities)
    sums = np.empty((draws, quantities), dtype=values.dtype)
    start = 0
    for weights, counts in _draws(seed, draws, seeds, examples, values.dtype.str):
        size = len(counts)
        drawn = (counts @ by_example).reshape(size, seeds, quantities)
        sums[start : start + size] = np.einsum("rs,rsm->rm", weights, drawn)
        start += size
    return Resampled(sums, divisor)


def resampled_means(outcomes: Floats, *, draws: int = DRAWS, seed: int = _SEED) -> Floats:
    """Bootstrap means `[R, M]` of `outcomes [S, N, M]`, as `resampled`."""
    return resampled(outcomes, draws=draws, seed=seed).means()


def crossed_means(outcomes: Sequence[Floats], *, draws: int = DRAWS, seed: int = _SEED) -> Floats:
    """Bootstrap means `[R, M]` of outcomes that belong to two things at once: for each seed `[I, U, M]`, M quantities
    of every pair of I items and U users.

    Every draw resamples the seeds and, for each seed, its items and its users, each by themselves: pairs that share an
    item or a user stay together. Raises ValueError where there is nothing to draw from.

    Source: the pigeonhole bootstrap (Owen 2007), which is conservative where items and users hardly matter.
    """
    if not outcomes or any(not part.size for part in outcomes):
        raise ValueError("a bootstrap needs at least one seed, one item and one user")
    weights, drawn = _crossed_draws(seed, draws, tuple((len(part), part.shape[1]) for part in outcomes))
    means = np.zeros((draws, outcomes[0].shape[2]))
    for number, (part, (by_item, by_user)) in enumerate(zip(outcomes, drawn, strict=True)):
        items, users, quantities = part.shape
        values, times = _summable(part, items * users)
        kind = values.dtype
        over_items = by_item.astype(kind, copy=False) @ values.transpose(0, 2, 1).reshape(items, -1)
        over_items = over_items.reshape(draws, quantities, users)
        sums = np.einsum("ru,rmu->rm", by_user.astype(kind, copy=False), over_items)
        means += weights[:, number, None] * sums.astype(np.float64) / (times * items * users)
    means /= len(outcomes)
    return means


def estimate(value: float, resampled: Floats) -> Estimate:
    """`value` with the percentile interval of its `resampled [R]` values, widened to hold the value
    itself."""
    return Resampled(resampled[:, None], 1).estimates([value])[0]


def shared_ranks(estimates: Sequence[Estimate]) -> tuple[int, ...]:
    """The rank of each: 1 + the number of others whose whole interval lies above its own. Higher values are
    better.

    So everything that overlaps the best shares rank 1. Overlap is not transitive: of three in a chain the
    last may overlap the second and still rank below it, because the first is clearly better than the last
    alone.
    """
    return tuple(1 + sum(other.low > own.high for other in estimates) for own in estimates)


def _summable(outcomes: Floats, weight: int) -> tuple[Sums, int]:
    """What to sum for the `outcomes`, and how many times too large it is: twice the outcomes in single precision if no
    sum of them can be rounded there, however they are drawn with a `weight` of so many in all."""
    doubled = 2 * outcomes
    if np.array_equal(doubled, np.rint(doubled)) and np.abs(doubled).max(initial=0) * weight < _WHOLE:
        return doubled.astype(np.float32), 2
    return outcomes, 1


def _draws(seed: int, draws: int, seeds: int, examples: int, kind: str) -> Iterator[tuple[Sums, Sums]]:
    """How often each draw takes a seed `[r, S]` and an example `[r, N]`, as floats of the `kind`, in pieces of some of
    the draws."""
    if draws * examples <= _CHUNK:
        yield _kept_draws(seed, draws, seeds, examples, kind)
    else:
        yield from _new_draws(seed, draws, seeds, examples, kind)


@dataclass(frozen=True)
class _Groups:
    """Draws that weigh the seeds alike: the `weights [G, S]` of each group, and the `counts [r, N]` of its draws."""

    weights: Sums
    counts: tuple[Sums, ...]


@lru_cache(maxsize=_KEPT)
def _kept_groups(seed: int, draws: int, seeds: int, examples: int) -> _Groups | None:
    """The draws by groups; None where there are too many draws to be kept, or hardly two that weigh the seeds alike."""
    if draws * examples > _CHUNK:
        return None
    ((weights, counts),) = _new_draws(seed, draws, seeds, examples, "f4")
    alike, group = np.unique(weights, axis=0, return_inverse=True)
    if len(alike) > draws / 16:
        return None
    return _Groups(alike, tuple(counts[group.ravel() == number] for number in range(len(alike))))


@lru_cache(maxsize=_KEPT)
def _kept_draws(seed: int, draws: int, seeds: int, examples: int, kind: str) -> tuple[Sums, Sums]:
    (whole,) = _new_draws(seed, draws, seeds, examples, kind)
    return whole


def _new_draws(seed: int, draws: int, seeds: int, examples: int, kind: str) -> Iterator[tuple[Sums, Sums]]:
    rng = np.random.default_rng(seed)
    # A seed drawn k times weighs k / S.
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws).astype(kind)
    step = max(1, _CHUNK // examples)
    for start in range(0, draws, step):
        size = min(step, draws - start)
        drawn = rng.integers(0, examples, size=(size, examples))
        drawn += np.arange(size)[:, None] * examples
        counts = np.bincount(drawn.ravel(), minlength=size * examples).reshape(size, examples)
        yield weights[start : start + size], counts.astype(kind)


@lru_cache(maxsize=_KEPT)
def _crossed_draws(
    seed: int, draws: int, shapes: tuple[tuple[int, int], ...]
) -> tuple[npt.NDArray[np.int64], tuple[tuple[Sums, Sums], ...]]:
    """How often each draw takes a seed `[R, S]`, and for each seed how often its items `[R, I]` and users `[R, U]`."""
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(shapes), np.full(len(shapes), 1 / len(shapes)), size=draws)

    def counts(n: int) -> Sums:
        return rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float32)

    return weights, tuple((counts(items), counts(users)) for items, users in shapes)
