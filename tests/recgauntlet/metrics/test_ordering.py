"""Candidates are ordered by their scores, however these are turned into whole numbers."""

from __future__ import annotations

import numpy as np
import pytest

from recgauntlet.metrics.example_sets import from_packed, to_bits, to_set
from recgauntlet.metrics.ordering import Codes, Impressions, Ordered, chosen_of, impressions_of
from recgauntlet.metrics.ranking import Ranked, offsets_of

SIZES = (3, 1, 25, 12, 2)
HALVES = np.arange(2**16, dtype=np.uint16)


def falling(scores: np.ndarray) -> list[int]:
    """The candidates by falling score, equal ones as they stand; what is NaN comes last, and is all alike."""
    ranked = np.where(np.isnan(scores), -np.inf, scores)
    return sorted(range(len(scores)), key=lambda n: (np.isnan(scores[n]), -ranked[n]))


def test_the_bits_of_every_half_float_are_in_the_order_of_its_value() -> None:
    scores = HALVES.view(np.float16).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(HALVES))
    codes = Codes.of_halves(HALVES[order])
    assert codes.order.tolist() == falling(scores[order])
    assert len(np.unique(codes.values)) == len(np.unique(scores))  # equal where scores are


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("halves", [False, True])
def test_scores_of_any_precision_are_ordered_alike(kind: type, ties: bool, halves: bool) -> None:
    scores = np.random.default_rng(1).normal(size=500).astype(kind)
    if ties:
        scores = np.round(scores)
        scores[3] = -0.0
    if halves:
        scores = scores.astype(np.float16).astype(kind)
    scores[[5, 6, 7]] = np.inf, -np.inf, 0.0
    assert Codes.of(scores).order.tolist() == falling(scores)


@pytest.mark.parametrize("ties", [False, True])
def test_candidates_are_ordered_within_their_impressions(ties: bool) -> None:
    impressions = impressions_of(SIZES)
    scores = np.random.default_rng(2).normal(size=sum(SIZES)).astype(np.float32)
    scores = np.round(scores) if ties else scores
    ordered = Ordered.of(Codes.of(scores), impressions.numbers, impressions)
    assert ordered.order.tolist() == np.lexsort((-scores, impressions.numbers)).tolist()
    assert (len(ordered.blocks) < len(scores)) == ties
    for start, end in zip(impressions.offsets, impressions.offsets[1:], strict=False):
        assert sorted(ordered.places[start:end].tolist()) == list(range(1, end - start + 1))


def test_means_over_ties_are_those_of_each_block() -> None:
    scores, labels = np.array([2.0, 2, 1, 1, 1, 0, 0, 0]), np.array([1, 0, 1, 1, 0, 0, 1, 0], dtype=bool)
    ranked = Ranked.of(labels, scores, Impressions(np.array([0, 6, 8])))
    assert ranked.gains.tolist() == [0.5, 0.5, 2 / 3, 2 / 3, 2 / 3, 0, 0.5, 0.5]
    assert ranked.ordered.expected_ranks(np.arange(8)).tolist() == [1.5, 1.5, 4, 4, 4, 6, 1.5, 1.5]


def test_chosen_impressions_are_found_in_the_sequence_that_was_asked_for() -> None:
    rows, part = chosen_of(SIZES, (3, 0))
    assert rows.tolist() == [*range(29, 41), 0, 1, 2]
    assert part.sizes.tolist() == [12, 3]
    assert part.offsets.tolist() == offsets_of([12, 3]).tolist()
    assert part.at(np.array([0, 11, 12, 14])).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("count", [1, 7, 8, 9, 400])
def test_a_set_of_examples_is_its_bits(count: int) -> None:
    bits = np.random.default_rng(count).random((3, count)) < 0.4
    sets = [to_set(row) for row in bits]
    assert to_bits(sets, count).tolist() == bits.tolist()
    assert [one.bit_count() for one in sets] == bits.sum(axis=1).tolist()
    assert sets[0] & ~sets[1] == to_set(bits[0] & ~bits[1])
    packed = bytearray(np.packbits(bits[0]).tobytes())
    packed[-1] |= (1 << (-count % 8)) - 1  # what stands behind the last example says nothing
    assert from_packed(bytes(packed), count) == sets[0]
