"""Candidates in the order of their scores, impression by impression or group by group, sorted as whole numbers.

A record keeps scores as half floats. Their bits, with a group in front, are whole numbers that sort several times
faster than floats do in two keys; other scores are numbered first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from recgauntlet.data.tables import IntArray

Scores = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[Any]
"""Whole numbers without a sign."""


def codes(scores: Scores) -> tuple[Codes, int]:
    """Whole numbers `[N]` that are ordered as `scores [N]` are, equal where those are equal, and their bits at most.
    No score may be NaN."""
    plain = scores + scores.dtype.type(0)  # 0 for -0, which has other bits
    with np.errstate(over="ignore"):
        halves = plain.astype(np.float16)
    if np.array_equal(halves, plain):
        raw = halves.view(np.uint16)
        return raw ^ (-(raw >> 15) | np.uint16(0x8000)), 16  # all bits of what is negative, else the sign alone
    numbers = np.unique(plain, return_inverse=True)[1].ravel().astype(np.uint64)
    return numbers, _bits(len(scores))


def keys(*parts: tuple[Codes, int]) -> Codes | None:
    """The parts `[N]` of a key one behind another, each with its bits at most; None where they are more than 64."""
    total = sum(bits for _, bits in parts)
    if total > 64:
        return None
    found: Codes = np.zeros(len(parts[0][0]), dtype=np.uint32 if total <= 32 else np.uint64)
    for values, bits in parts:
        found <<= found.dtype.type(bits)
        found |= values.astype(found.dtype)
    return found


def candidates_of(chosen: IntArray, offsets: IntArray) -> tuple[IntArray, IntArray]:
    """Where the candidates of the impressions `chosen [C]` stand, impression after impression, and the offsets
    `[C + 1]` that cut them; `offsets [I + 1]` cut those of all impressions."""
    sizes = np.diff(offsets)[chosen]
    cut = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return np.arange(int(cut[-1])) + np.repeat(offsets[chosen] - cut[:-1], sizes), cut


@dataclass(frozen=True)
class Ordered:
    """The candidates of ragged impressions by falling score. `offsets [I + 1]` cut them, `order [N]` gives the
    candidate at each place, impression after impression; tied candidates keep their order."""

    offsets: IntArray
    order: IntArray
    fresh: npt.NDArray[np.bool_]
    """`[N]`: whether a candidate is not tied with the one before it in the order."""

    @classmethod
    def of(cls, scores: Scores, offsets: IntArray) -> Ordered:
        """Order `scores [N]`, of which none may be NaN."""
        sizes = np.diff(offsets)
        numbers = np.repeat(np.arange(len(sizes)), sizes)
        starts = np.repeat(offsets[:-1], sizes)
        found, bits = codes(scores)
        width = _bits(int(sizes.max()))
        falling = found.dtype.type(2**bits - 1) - found
        key = keys((numbers, _bits(len(sizes))), (falling, bits), (np.arange(len(scores)) - starts, width))
        if key is None:
            order = np.lexsort((-scores, numbers))
        else:
            key.sort()
            order = starts + (key & key.dtype.type(2**width - 1)).astype(np.int64)
        ranked = scores[order]
        fresh = np.ones(len(scores), dtype=np.bool_)
        fresh[1:] = ranked[1:] != ranked[:-1]
        fresh[offsets[:-1]] = True
        return cls(offsets, order, fresh)

    @cached_property
    def sizes(self) -> IntArray:
        """`[I]`: the candidates of each impression."""
        return np.diff(self.offsets)

    @cached_property
    def ranks(self) -> IntArray:
        """`[N]`: the rank at each place of the order, from 1."""
        return np.arange(1, len(self.order) + 1) - np.repeat(self.offsets[:-1], self.sizes)

    @cached_property
    def places(self) -> IntArray:
        """`[N]`: the rank of each candidate, from 1; tied candidates in their order."""
        return self._by_candidate(self.ranks)

    @cached_property
    def expected_ranks(self) -> Floats:
        """`[N]`: the rank of each candidate, from 1, the mean over all orders of those it is tied with."""
        return self._by_candidate(self.tied_means(self.ranks))

    def tied_means(self, values: IntArray | npt.NDArray[np.bool_]) -> Floats:
        """`[N]`: of `values [N]` in the order, the mean over the candidates that are tied with each."""
        starts, counts = self._blocks
        if len(starts) == len(values):
            return values.astype(np.float64)
        return np.repeat(np.add.reduceat(values.astype(np.float64), starts) / counts, counts)

    @cached_property
    def _blocks(self) -> tuple[IntArray, IntArray]:
        """Where blocks of tied candidates start in the order, and how many are in each."""
        starts = np.flatnonzero(self.fresh)
        return starts, np.diff(np.append(starts, len(self.fresh)))

    def _by_candidate(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        found = np.empty_like(values)
        found[self.order] = values
        return found


def _bits(count: int) -> int:
    """The bits of the whole numbers below `count`."""
    return max(1, (count - 1).bit_length())
