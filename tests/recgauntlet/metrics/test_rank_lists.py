"""Ranks and rank-list sensitivity against their definitions, written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import rankdata

from recgauntlet.metrics.ranking import Ranked, offsets_of, rank_biased_overlap, top_jaccard

SIZES = [3, 1, 25, 12, 2]
OFFSETS = offsets_of(SIZES)


def drawn(seed: int, *, ties: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=OFFSETS[-1])
    return np.round(scores) if ties else scores


def ranked(scores: np.ndarray, offsets: np.ndarray = OFFSETS) -> Ranked:
    return Ranked.of(np.arange(len(scores)) % 3 == 0, scores, offsets)


def places(scores: np.ndarray, offsets: np.ndarray = OFFSETS) -> np.ndarray:
    return ranked(scores, offsets).places


def lists(scores: np.ndarray) -> list[np.ndarray]:
    return [scores[start:end] for start, end in itertools.pairwise(OFFSETS)]


def order(scores: np.ndarray) -> list[int]:
    return np.argsort(-scores, kind="stable").tolist()


def overlap_by_definition(before: list[int], after: list[int], p: float) -> float:
    depth = len(before)
    agreement = [len({*before[:d]} & {*after[:d]}) / d for d in range(1, depth + 1)]
    return agreement[-1] * p**depth + (1 - p) / p * sum(a * p**d for d, a in enumerate(agreement, start=1))


@pytest.mark.parametrize("ties", [False, True])
def test_ranks_are_the_mean_over_tied_orders(ties: bool) -> None:
    scores = drawn(1, ties=ties)
    expected = np.concatenate([rankdata(-part) for part in lists(scores)])
    assert ranked(scores).expected.tolist() == expected.tolist()


@pytest.mark.parametrize("p", [0.5, 0.9])
def test_overlap_is_that_of_the_definition(p: float) -> None:
    before, after = drawn(1), drawn(2)
    found = rank_biased_overlap(places(before), places(after), OFFSETS, p=p)
    expected = [overlap_by_definition(order(a), order(b), p) for a, b in zip(lists(before), lists(after), strict=True)]
    assert found == pytest.approx(expected)
    assert found[2] < 1


def test_a_list_that_did_not_change_is_wholly_alike_even_where_all_scores_are_tied() -> None:
    for scores in (drawn(1), drawn(1, ties=True), np.zeros(OFFSETS[-1])):
        assert rank_biased_overlap(places(scores), places(scores + 1), OFFSETS) == pytest.approx(np.ones(len(SIZES)))
        assert top_jaccard(places(scores), places(scores + 1), OFFSETS).tolist() == [1] * len(SIZES)


def test_a_change_at_the_top_weighs_more_than_one_at_the_end() -> None:
    scores, offsets = -np.arange(20.0), offsets_of([20])
    top, end = scores.copy(), scores.copy()
    top[[0, 1]], end[[18, 19]] = top[[1, 0]], end[[19, 18]]
    first, at_top, at_end = (places(one, offsets) for one in (scores, top, end))
    assert rank_biased_overlap(first, at_top, offsets) < rank_biased_overlap(first, at_end, offsets)


def test_jaccard_is_that_of_the_two_first_tens() -> None:
    before, after = drawn(3), drawn(4)
    expected = [
        len({*order(a)[:10]} & {*order(b)[:10]}) / len({*order(a)[:10]} | {*order(b)[:10]})
        for a, b in zip(lists(before), lists(after), strict=True)
    ]
    found = top_jaccard(places(before), places(after), OFFSETS)
    assert found == pytest.approx(expected)
    assert found[2] < 1
    assert found[0] == 1
