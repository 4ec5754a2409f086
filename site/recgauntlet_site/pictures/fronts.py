"""Which rows no other row beats in everything: the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from recgauntlet_site.pictures.drawing import Point


def front(values: Sequence[tuple[float, ...]]) -> tuple[bool, ...]:
    """For each point whether no other is at least as high in every value and higher in one. Of equal points all or
    none are on the front."""
    if not values:
        return ()
    points = np.array(values, dtype=np.float64)
    as_high = np.ones((len(points), len(points)), dtype=np.bool_)  # [other, own]
    higher = np.zeros_like(as_high)
    for column in points.T:
        as_high &= column[:, None] >= column
        higher |= column[:, None] > column
    beaten: npt.NDArray[np.bool_] = np.any(as_high & higher, axis=0)
    return tuple(not one for one in beaten.tolist())


def staircase(points: Sequence[Point], left: float, bottom: float) -> list[Point]:
    """The edge of what points on a front beat, in values (up and to the right is better), from the left edge of a plot
    down to its bottom."""
    edge: list[Point] = []
    for x, y in sorted(set(points)):
        edge += [(edge[-1][0] if edge else left, y), (x, y)]
    return [*edge, (edge[-1][0], bottom)] if edge else []
