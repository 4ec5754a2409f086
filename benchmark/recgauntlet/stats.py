"""Bootstrap intervals over seeds and examples, and ranks that rows with overlapping intervals share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

DRAWS = 2000
LEVEL = 0.95
_SEED = 20240229
_CHUNK = 2_000_000
"""Resampled examples held in memory at a time."""


@dataclass(frozen=True)
class Estimate:
    """A mean and its interval; `low` and `high` are at the level LEVEL."""

    value: float
    low: float
    high: float


def resampled_means(outcomes: Floats, *, draws: int = DRAWS, seed: int = _SEED) -> Floats:
    """Bootstrap means `[R, M]` of `outcomes [S, N, M]`: S seeds, N examples, M quantities of the same
    examples.

    Hierarchical: every draw resamples the seeds, and the examples once for all seeds and quantities (the
    seeds share the test examples, so they stay paired, and so do the quantities). With one seed only the
    examples are resampled. The same outcomes give the same means wherever they are computed. Raises
    ValueError where there is nothing to draw from.

    Source: the percentile bootstrap (Efron 1979) over the two levels that the reported mean averages over.
    """
    seeds, examples, quantities = outcomes.shape
    if seeds < 1 or examples < 1:
        raise ValueError("a bootstrap needs at least one seed and one example")
    rng = np.random.default_rng(seed)
    by_example = np.ascontiguousarray(outcomes.transpose(1, 0, 2).reshape(examples, seeds * quantities))
    # A seed drawn k times weighs k / S.
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=draws).astype(np.float64)
    means = np.empty((draws, quantities))
    step = max(1, _CHUNK // examples)
    for start in range(0, draws, step):
        size = min(step, draws - start)
        drawn = rng.integers(0, examples, size=(size, examples))
        drawn += np.arange(size)[:, None] * examples
        counts = np.bincount(drawn.ravel(), minlength=size * examples).reshape(size, examples)
        sums = (counts.astype(np.float64) @ by_example).reshape(size, seeds, quantities)
        means[start : start + size] = np.einsum("rs,rsm->rm", weights[start : start + size], sums)
    means /= seeds * examples
    return means


def crossed_means(outcomes: Sequence[Floats], *, draws: int = DRAWS, seed: int = _SEED) -> Floats:
    """Bootstrap means `[R, M]` of outcomes that belong to two things at once: for each seed `[I, U, M]`, M quantities
    of every pair of I items and U users.

    Every draw resamples the seeds and, for each seed, its items and its users, each by themselves: pairs that share an
    item or a user stay together. Raises ValueError where there is nothing to draw from.

    Source: the pigeonhole bootstrap (Owen 2007), which is conservative where items and users hardly matter.
    """
    if not outcomes or any(not part.size for part in outcomes):
        raise ValueError("a bootstrap needs at least one seed, one item and one user")
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(outcomes), np.full(len(outcomes), 1 / len(outcomes)), size=draws)
    means = np.zeros((draws, outcomes[0].shape[2]))
    for number, part in enumerate(outcomes):
        items, users, quantities = part.shape
        by_item, by_user = (
            rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64) for n in (items, users)
        )
        over_items = (by_item @ part.reshape(items, -1)).reshape(draws, users, quantities)
        means += weights[:, number, None] * np.einsum("ru,rum->rm", by_user, over_items) / (items * users)
    drawn: Floats = means / len(outcomes)
    return drawn


def estimate(value: float, resampled: Floats) -> Estimate:
    """`value` with the percentile interval of its `resampled [R]` values, widened to hold the value
    itself."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, min(float(low), value), max(float(high), value))


def shared_ranks(estimates: Sequence[Estimate]) -> tuple[int, ...]:
    """The rank of each: 1 + the number of others whose whole interval lies above its own. Higher values are
    better.

    So everything that overlaps the best shares rank 1. Overlap is not transitive: of three in a chain the
    last may overlap the second and still rank below it, because the first is clearly better than the last
    alone.
    """
    return tuple(1 + sum(other.low > own.high for other in estimates) for own in estimates)
