"""Which rows no other row beats in everything: the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence

from recgauntlet_site.pictures.drawing import Point


def front(values: Sequence[tuple[float, ...]]) -> tuple[bool, ...]:
    """For each point whether no other is at least as high in every value and higher in one. Of equal points all or
    none are on the front."""
    return tuple(not any(_beats(other, own) for other in values) for own in values)


def _beats(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def staircase(points: Sequence[Point], left: float, bottom: float) -> list[Point]:
    """The edge of what points on a front beat, in values (up and to the right is better), from the left edge of a plot
    down to its bottom."""
    edge: list[Point] = []
    for x, y in sorted(set(points)):
        edge += [(edge[-1][0] if edge else left, y), (x, y)]
    return [*edge, (edge[-1][0], bottom)] if edge else []
