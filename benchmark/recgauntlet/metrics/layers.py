"""Quantities of the same examples with their intervals, all resampled together."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from recgauntlet.metrics.bootstrap import Estimate, Resampled, resampled_counts
from recgauntlet.metrics.example_sets import to_bits

Layer = tuple[int, ...]
"""For each seed the set of examples (`recgauntlet.metrics.example_sets`) that count: those that are right, or still
right."""


class Layers:
    """Layers of `count` examples; those that are alike are resampled once.

    Where the examples are `paired`, each two that follow one another are resampled as one.
    """

    def __init__(self, layers: Iterable[Layer], count: int, *, paired: bool = True) -> None:
        self._place = {layer: place for place, layer in enumerate(dict.fromkeys(layers))}
        self._count = count
        self._together = 2 if paired else 1

    def estimate(self, layer: Layer) -> Estimate:
        """The share of examples that are in `layer`, with its interval."""
        return self._estimates[self._place[layer]]

    def by_seed(self, layer: Layer) -> tuple[float, ...]:
        """The share of examples that are in `layer`, seed by seed."""
        return tuple(examples.bit_count() / self._count for examples in layer)

    def shares_of(self, whole: Layer, parts: Iterable[Layer]) -> dict[Layer, Estimate]:
        """The share of examples that are in each of `parts` divided by that of `whole`, with its interval; 0 where that
        is 0."""
        layers = list(dict.fromkeys(parts))
        means = self._drawn.means()
        over, under = means[:, [self._place[layer] for layer in layers]], means[:, self._place[whole], None]
        shares = np.divide(over, under, out=np.zeros_like(over), where=under > 0)
        values = [self._mean(layer) / self._mean(whole) if any(whole) else 0.0 for layer in layers]
        return dict(zip(layers, Resampled(shares, 1).estimates(values), strict=True))

    @cached_property
    def _estimates(self) -> list[Estimate]:
        return self._drawn.estimates([self._mean(layer) for layer in self._place])

    @cached_property
    def _drawn(self) -> Resampled:
        seeds = len(next(iter(self._place)))
        bits = to_bits([examples for layer in self._place for examples in layer], self._count).view(np.uint8)
        together = bits if self._together == 1 else bits[:, 0::2] + bits[:, 1::2]
        return resampled_counts(together.reshape(len(self._place), seeds, -1).transpose(1, 2, 0), self._together)

    def _mean(self, layer: Layer) -> float:
        return sum(examples.bit_count() for examples in layer) / (len(layer) * self._count)
