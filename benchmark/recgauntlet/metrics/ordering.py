"""Candidates in the order of their scores, group by group, sorted as whole numbers.

A record keeps scores as half floats. Their bits are whole numbers of 16 bits, which are sorted in the time that it
takes to count them, and so are the numbers of the groups; other scores are numbered first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from recgauntlet.core.types import BoolArray, IntArray

Scores = npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[Any]
"""Whole numbers without a sign."""


@dataclass(frozen=True)
class Codes:
    """Whole numbers `[N]`, the smaller the higher the score, equal where scores are."""

    values: Whole

    @classmethod
    def of(cls, scores: Scores) -> Codes:
        """The codes of `scores [N]`, of which none may be NaN."""
        plain = scores + scores.dtype.type(0)  # 0 for -0, which has other bits
        with np.errstate(over="ignore"):
            halves = plain.astype(np.float16)
        if np.array_equal(halves, plain):
            return cls(_falling(halves.view(np.uint16)))
        return cls(np.unique(-plain, return_inverse=True)[1].ravel())

    @classmethod
    def of_halves(cls, bits: npt.NDArray[np.uint16]) -> Codes:
        """The codes of half floats `[N]` with these `bits`. Whatever is NaN has the lowest score, and is all alike."""
        size = bits & 0x7FFF
        found = _falling(np.where(size == 0, np.uint16(0), bits))
        found[size > _INFINITY] = 0xFFFF
        return cls(found)

    @cached_property
    def order(self) -> IntArray:
        """`[N]`: all candidates by falling score; those with equal scores as they stand."""
        return np.argsort(self.values, kind="stable")


_INFINITY = 0x7C00
"""The bits of the half float infinity; those of every NaN but for its sign are above."""


def _falling(halves: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    flipped = (halves >> 15) - np.uint16(1) & np.uint16(0x7FFF)  # of what is positive, all bits but the sign
    found: npt.NDArray[np.uint16] = np.bitwise_xor(halves, flipped)
    return found


@dataclass(frozen=True)
class Impressions:
    """Ragged impressions: of N candidates in a sequence, those from `offsets [I]` up to the next belong together."""

    offsets: IntArray

    @cached_property
    def sizes(self) -> IntArray:
        """`[I]`: the candidates of each impression."""
        return np.diff(self.offsets)

    @cached_property
    def numbers(self) -> IntArray:
        """`[N]`: the impression of each candidate."""
        return np.repeat(np.arange(len(self.sizes)), self.sizes)

    @cached_property
    def starts(self) -> IntArray:
        """`[N]`: where the impression of each candidate starts."""
        return np.repeat(self.offsets[:-1], self.sizes)

    @cached_property
    def ranks(self) -> IntArray:
        """`[N]`: the rank at each place, if candidates are ordered within their impressions; from 1."""
        return np.arange(1, int(self.offsets[-1]) + 1) - self.starts

    def at(self, places: IntArray) -> IntArray:
        """`[P]`: the impressions that the candidates at `places [P]` are in."""
        return np.searchsorted(self.offsets, places, side="right") - 1

    def sums(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """`[I]`: the sum of `values [N]` in each impression."""
        found: npt.NDArray[Any] = np.add.reduceat(values, self.offsets[:-1])
        return found


@lru_cache(maxsize=8)
def impressions_of(sizes: tuple[int, ...]) -> Impressions:
    """Impressions of these sizes; the records of a table have the same."""
    return Impressions(np.concatenate([[0], np.cumsum(np.array(sizes, dtype=np.int64))]).astype(np.int64))


@lru_cache(maxsize=32)
def chosen_of(sizes: tuple[int, ...], chosen: tuple[int, ...]) -> tuple[IntArray, Impressions]:
    """Of impressions of these sizes those that are `chosen`, and where the candidates of these stood, one impression
    after the other."""
    whole, numbers = impressions_of(sizes), np.array(chosen, dtype=np.int64)
    part = impressions_of(tuple(sizes[number] for number in chosen))
    rows = np.arange(int(part.offsets[-1])) + np.repeat(whole.offsets[numbers] - part.offsets[:-1], part.sizes)
    return rows, part


@dataclass(frozen=True)
class Ordered:
    """Candidates by falling score within groups. `groups` says where a group stands in the order, and `order [N]` gives
    the candidate at each place; tied candidates keep their order."""

    groups: Impressions
    order: IntArray
    blocks: IntArray
    """`[B]`: where the blocks of tied candidates start."""

    @classmethod
    def of(cls, codes: Codes, numbers: IntArray, groups: Impressions) -> Ordered:
        """Order candidates with these `codes [N]`, which are in the groups `numbers [N]`."""
        order = codes.order
        if len(groups.sizes) > 1:
            group = numbers.astype(np.uint16) if len(groups.sizes) <= 2**16 else numbers
            order = order[np.argsort(group[order], kind="stable")]
        ranked = codes.values[order]
        fresh = np.ones(len(order), dtype=np.bool_)
        fresh[1:] = ranked[1:] != ranked[:-1]
        fresh[groups.offsets[:-1]] = True
        return cls(groups, order, np.flatnonzero(fresh))

    @cached_property
    def places(self) -> IntArray:
        """`[N]`: the rank of each candidate in its group, from 1; tied candidates in their order."""
        found = np.empty_like(self.order)
        found[self.order] = self.groups.ranks
        return found

    def expected_ranks(self, at: IntArray) -> Floats:
        """`[P]`: the rank in its group of the candidate that is `at [P]` in the order, from 1, the mean over all orders
        of those it is tied with."""
        block = np.searchsorted(self.blocks, at, side="right") - 1
        first = self.blocks[block] - self.groups.offsets[self.groups.at(at)] + 1
        return first + (self._counts[block] - 1) / 2

    def tied_means(self, labels: BoolArray) -> Floats:
        """`[N]`: of `labels [N]` in the order, the mean over the candidates that are tied with each."""
        means: Floats = labels.astype(np.float64)
        tied = np.flatnonzero(self._counts > 1)
        starts, counts = self.blocks[tied], self._counts[tied]
        before = np.concatenate([[0], np.cumsum(labels)])
        behind = np.cumsum(counts)
        rows = np.repeat(starts - behind + counts, counts) + np.arange(int(counts.sum()))
        means[rows] = np.repeat((before[starts + counts] - before[starts]) / counts, counts)
        return means

    @cached_property
    def _counts(self) -> IntArray:
        """`[B]`: how many candidates are in each block."""
        return np.diff(np.append(self.blocks, len(self.order)))
