"""How many examples and seeds a difference needs before the t test over trainings can be expected to see it."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np

from recgauntlet.metrics.significance import Components

MOST_PAIRS = 10_000_000
POINTS = 400
"""Slices of the integral over the mean square of the seeds."""


@dataclass(frozen=True)
class Need:
    """With `seeds` trainings of each row: the number of test `pairs` needed (None where no number is enough), and the
    power with the present number of pairs (None where it is not given)."""

    seeds: int
    pairs: int | None
    power_at_present: float | None


def assumed(*, discordant: float, shared: float, seed_sd: float) -> Components:
    """Variances where there are no records to estimate them from.

    `discordant` is the share of examples on which the two rows disagree in one training, `shared` the part of that
    which is the same in every seed, and `seed_sd` the standard deviation of the difference between trainings, in
    shares. An outcome differs by 1, 0 or -1, so the variance of an example's difference is at most `discordant`; the
    two examples of a pair are taken as independent, which halves it.
    """
    pair = discordant / 2
    return Components(training=seed_sd**2, pairs=shared * pair, rest=(1 - shared) * pair)


def power_of(parts: Components, *, seeds: int, pairs: int, difference: float, alpha: float) -> float:
    """The chance that a true `difference` (a share) is found significant at `alpha`, two-sided.

    With two or more seeds, by `significance.crossed_test`. The mean difference is normal around the true one with the
    squared error `(N s_training^2 + S s_pairs^2 + s_rest^2) / (S N)`. The test's estimate of it and its degrees of
    freedom depend on the mean square of the seeds, a chi squared with S - 1 degrees of freedom, over which the chance
    is integrated; the other two mean squares are set to their expectations. With one seed, by a paired t test over the
    pairs of these two models: `(s_pairs^2 + s_rest^2) / N`.

    Source: the model of Hillis, Obuchowski and Berbaum (2011), "Power estimation for multireader ROC methods"; a reader
    is a training here, and a case a test pair. Deviation: their noncentral t with the
    expected degrees of freedom is too optimistic with three seeds.
    """
    from scipy import stats

    if seeds == 1:
        squared = (parts.pairs + parts.rest) / pairs
        edges = np.array([stats.t.isf(alpha / 2, pairs - 1) * math.sqrt(squared)])
    else:
        slices = stats.chi2.ppf((np.arange(POINTS) + 0.5) / POINTS, seeds - 1)  # equally likely values
        by_seed = (pairs * parts.training + parts.rest) * slices / (seeds - 1)
        by_pair = parts.rest + seeds * parts.pairs
        taken = np.maximum(by_seed + seeds * parts.pairs, by_pair)
        freedom = (seeds - 1) * (taken / np.maximum(by_seed, 1e-300)) ** 2
        edges = stats.t.isf(alpha / 2, np.minimum(freedom, 1e9)) * np.sqrt(taken / (seeds * pairs))
        squared = (pairs * parts.training + by_pair) / (seeds * pairs)
    if squared == 0:
        return float(difference != 0)
    error = math.sqrt(squared)
    beyond = stats.norm.sf((edges - abs(difference)) / error) + stats.norm.cdf((-edges - abs(difference)) / error)
    return float(beyond.mean())


def pairs_needed(parts: Components, *, seeds: int, difference: float, power: float, alpha: float) -> int | None:
    """The least number of test pairs with which `power_of` reaches `power`; None where ten million are not enough,
    because trainings vary too much for so few seeds."""

    def enough(pairs: int) -> bool:
        return power_of(parts, seeds=seeds, pairs=pairs, difference=difference, alpha=alpha) >= power

    least = bisect_left(range(MOST_PAIRS + 1), True, lo=2, key=enough)
    return least if least <= MOST_PAIRS else None


def needs(
    parts: Components,
    *,
    difference: float,
    power: float = 0.8,
    alpha: float = 0.05,
    seeds: tuple[int, ...] = (1, 3, 5, 10),
    present: int | None = None,
) -> tuple[Need, ...]:
    """One line a number of seeds."""
    return tuple(
        Need(
            count,
            pairs_needed(parts, seeds=count, difference=difference, power=power, alpha=alpha),
            None
            if present is None
            else power_of(parts, seeds=count, pairs=present, difference=difference, alpha=alpha),
        )
        for count in seeds
    )
