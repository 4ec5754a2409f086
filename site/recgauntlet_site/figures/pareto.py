"""The Pareto front: the points that no other point beats in every quantity."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Point = tuple[float, float]


def front(values: Sequence[tuple[float, ...]]) -> list[bool]:
    """For each point whether it is on the front: no other is at least as high in every quantity and higher in one. Of
    equal points all or none are on it."""
    if not values:
        return []
    points = np.array(values, dtype=np.float64)
    as_high = np.all(points[:, None] >= points, axis=2)  # [other, own]
    on_front: list[bool] = (~np.any(as_high & ~as_high.T, axis=0)).tolist()
    return on_front


def staircase(points: Sequence[Point], left: float, bottom: float) -> list[Point]:
    """The edge of the area that the `points` of a front beat, from the left edge of a plot down to its bottom. Up and
    to the right is better."""
    edge: list[Point] = []
    for x, y in sorted(set(points)):
        edge += [(edge[-1][0] if edge else left, y), (x, y)]
    return [*edge, (edge[-1][0], bottom)] if edge else []
