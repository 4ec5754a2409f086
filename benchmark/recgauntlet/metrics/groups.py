"""Groups of users and items by how much is known of them, and the largest gap between groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recgauntlet.core.types import IntArray
from recgauntlet.metrics.bootstrap import LEVEL, Estimate, Floats, estimates, paired_p

PARTS = 5
LEAST_PAIRS = 10
"""Groups with fewer test pairs have no accuracy: a mean of so few says nothing, and a bootstrap draw may have none."""


@dataclass(frozen=True)
class Gap:
    """The largest difference between two groups, `best` and `worst` by their numbers.

    The interval is simultaneous: with the level of every interval here it contains the differences of all pairs of
    groups, so it stays true of the two that were picked because they are furthest apart. `p` is of all groups being
    equal, by the same draws.
    """

    gap: Estimate
    best: int
    worst: int
    p: float


@dataclass(frozen=True)
class GapChange:
    """The gap between two groups in one row (`own`) and in another (`other`).

    `best` and `worst` are furthest apart in the mean of both rows: groups picked in one row would make its gap the
    wider one by chance. `wider` is `own` less `other`, and `p` that of the paired bootstrap.
    """

    best: int
    worst: int
    own: float
    other: float
    wider: Estimate
    p: float


def fifths(values: IntArray, parts: int = PARTS) -> tuple[tuple[tuple[int, int], ...], IntArray]:
    """Cut `values [n]`, whole numbers, into at most `parts` groups of about equal size, by rising value.

    Equal values are in one group: the part in which the middle of their places lies. So groups are fewer or unequal
    where many values are equal; none is empty. Returns the least and the most value of each group, and the group `[n]`
    of each value. Raises ValueError where there is no value.
    """
    if not len(values):
        raise ValueError("there is nothing to cut into groups")
    distinct, of_value, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(sizes)
    part = parts * (2 * ends - sizes) // (2 * len(values))
    _, starts, group = np.unique(part, return_index=True, return_inverse=True)
    last = np.append(starts[1:], len(distinct)) - 1
    bounds = tuple(zip(distinct[starts].tolist(), distinct[last].tolist(), strict=True))
    return bounds, group[of_value].astype(np.int64)


def largest_gap(values: Floats, draws: Floats) -> Gap:
    """The largest gap between the `values [G]`, shares, of at least two groups, whose bootstrap means are
    `draws [R, G]`.

    The margin on both sides is the 95 % quantile over the draws of the largest difference between the groups'
    deviations from their values; the interval ends at 0 and at 1.

    Source: Tukey's simultaneous comparison of all pairs by their range; the bootstrap of the maximum after Romano and
    Wolf (2005). Deviation: not studentized.

    Raises ValueError with fewer than two groups.
    """
    if len(values) < 2:
        raise ValueError("a gap is between at least two groups")
    gap = float(np.ptp(values))
    reach = np.ptp(draws - values, axis=1)
    margin = float(np.quantile(reach, LEVEL))
    p = float((reach >= gap).mean())
    return Gap(
        Estimate(gap, max(0.0, gap - margin), min(1.0, gap + margin)), int(values.argmax()), int(values.argmin()), p
    )


def gap_change(values: Floats, draws: Floats) -> GapChange:
    """Whether a gap differs between two rows: the `values [G, 2]` of at least two groups, and the bootstrap means
    `draws [R, G, 2]`, in which both rows share the seeds and pairs. Raises ValueError with fewer than two groups."""
    if len(values) < 2:
        raise ValueError("a gap is between at least two groups")
    middle = values.mean(axis=1)
    best, worst = int(middle.argmax()), int(middle.argmin())
    own, other = (values[best] - values[worst]).tolist()
    in_draws = draws[:, best] - draws[:, worst]
    differences = in_draws[:, :1] - in_draws[:, 1:]
    (wider,) = estimates([own - other], differences)
    return GapChange(best, worst, own, other, wider, float(paired_p(np.array([own - other]), differences)[0]))
