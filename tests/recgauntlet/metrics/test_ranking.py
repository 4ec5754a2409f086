"""Ranking metrics against scikit-learn, MIND's official definitions and those of rank-list overlap, and under ties."""

from __future__ import annotations

from itertools import pairwise, permutations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score, roc_auc_score

from recgauntlet.metrics import ranking as metrics
from recgauntlet.metrics.ranking import Ranked, offsets_of, rank_biased_overlap, top_jaccard

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
SIZES = [3, 1, 25, 12, 2]
OFFSETS = offsets_of(SIZES)


def impressions(seed: int, *, decimals: int, one_click: bool = False) -> tuple[Bools, Floats, npt.NDArray[np.int64]]:
    """Random impressions with both labels; few `decimals` make many ties."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 15, 30)
    labels = []
    for size in sizes:
        clicks = 1 if one_click else rng.integers(1, size)
        labels.append(rng.permutation(np.arange(size) < clicks))
    scores = np.round(rng.normal(size=sizes.sum()), decimals)
    return np.concatenate(labels), scores, offsets_of(sizes)


def mind_mrr(labels: Bools, scores: Floats) -> float:
    """`mrr_score` of MIND's official evaluation script, for scores without ties."""
    ranked = labels[np.argsort(scores)[::-1]]
    return float(np.sum(ranked / (np.arange(len(ranked)) + 1)) / np.sum(ranked))


def mind_ndcg(labels: Bools, scores: Floats, k: int) -> float:
    """`ndcg_score` of MIND's official evaluation script, for scores without ties."""

    def dcg(order: npt.NDArray[np.int64]) -> float:
        ranked = labels[order[:k]].astype(float)
        return float(np.sum((2**ranked - 1) / np.log2(np.arange(len(ranked)) + 2)))

    return dcg(np.argsort(scores)[::-1]) / dcg(np.argsort(labels)[::-1])


@pytest.mark.parametrize("decimals", [0, 1, 8])
@pytest.mark.parametrize("seed", range(5))
def test_auc_and_ndcg_agree_with_scikit_learn_ties_included(seed: int, decimals: int) -> None:
    labels, scores, offsets = impressions(seed, decimals=decimals)
    parts = [slice(a, b) for a, b in pairwise(offsets)]
    each = [roc_auc_score(labels[part], scores[part]) for part in parts]
    assert metrics.auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    assert Ranked.of(labels, scores, offsets).auc() == pytest.approx(np.mean(each))
    for k in (1, 5, 10, 50):
        expected = np.mean([ndcg_score([labels[part]], [scores[part]], k=k) for part in parts])
        assert Ranked.of(labels, scores, offsets).ndcg_each(k).mean() == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_mrr_and_ndcg_follow_minds_official_evaluation(seed: int) -> None:
    labels, scores, offsets = impressions(seed, decimals=12)
    parts = [slice(a, b) for a, b in pairwise(offsets)]
    expected = np.mean([mind_mrr(labels[part], scores[part]) for part in parts])
    assert Ranked.of(labels, scores, offsets).mrr() == pytest.approx(expected)
    for k in (5, 10):
        expected = np.mean([mind_ndcg(labels[part], scores[part], k) for part in parts])
        assert Ranked.of(labels, scores, offsets).ndcg_each(k).mean() == pytest.approx(expected)


def test_mrr_with_one_click_is_the_label_ranking_average_precision() -> None:
    labels, scores, offsets = impressions(3, decimals=12, one_click=True)
    expected = np.mean(
        [label_ranking_average_precision_score([labels[a:b]], [scores[a:b]]) for a, b in pairwise(offsets)]
    )
    assert Ranked.of(labels, scores, offsets).mrr() == pytest.approx(expected)


def test_all_ranking_metrics_are_those_of_their_functions() -> None:
    rng = np.random.default_rng(3)
    sizes, users = np.array([4, 6, 3, 5]), np.array([7, 2, 7, 1])
    labels = np.concatenate([np.arange(size) < 1 for size in sizes])
    scores = rng.normal(size=len(labels))
    ranked = metrics.Ranked.of(labels, scores, metrics.offsets_of(sizes))
    found = metrics.ranking_metrics(labels, scores, sizes, users)
    assert found.auc == metrics.auc(labels, scores)
    assert found.gauc == metrics.gauc(labels, scores, np.repeat(users, sizes))
    assert (found.impression_auc, found.mrr) == (ranked.auc(), ranked.mrr())
    assert (found.ndcg5, found.ndcg10) == tuple(ranked.ndcg_each(k).mean() for k in (5, 10))
    assert len(set(found)) > 4


def test_gauc_weighs_a_users_auc_by_the_number_of_their_candidates() -> None:
    labels, scores, offsets = impressions(7, decimals=1)
    users = np.repeat(np.arange(len(offsets) - 1) // 3 * 10 + 4, np.diff(offsets))
    parts, weights = [], []
    for user in np.unique(users):
        parts.append(roc_auc_score(labels[users == user], scores[users == user]))
        weights.append((users == user).sum())
    assert metrics.gauc(labels, scores, users) == pytest.approx(np.average(parts, weights=weights))


def test_gauc_leaves_users_out_whose_labels_are_all_alike() -> None:
    labels = np.array([True, False, True, True])
    scores = np.array([2.0, 1.0, 0.0, 5.0])
    assert metrics.gauc(labels, scores, np.array([1, 1, 2, 2])) == 1.0
    with pytest.raises(ValueError, match="at least one clicked"):
        metrics.gauc(labels[2:], scores[2:], np.array([2, 2]))


@given(st.integers(0, 10_000), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_ties_give_the_mean_over_all_orders_of_the_tied_candidates(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.array([True, False, True, False, False]))
    scores = rng.integers(0, 2, 5).astype(float)
    offsets = np.array([0, 5])
    orders = [scores + 1e-6 * np.array(order) for order in permutations(range(5))]
    for metric in (lambda *given: Ranked.of(*given).mrr(), lambda *given: Ranked.of(*given).ndcg_each(k)[0]):
        expected = np.mean([metric(labels, untied, offsets) for untied in orders])
        assert metric(labels, scores, offsets) == pytest.approx(expected)


def test_a_constant_scorer_gets_no_lucky_rank_wherever_its_clicks_stand() -> None:
    constant, offsets = np.zeros(20), np.array([0, 20])
    first, last = np.zeros(20, dtype=bool), np.zeros(20, dtype=bool)
    first[0], last[-1] = True, True
    chance = np.mean(1 / np.arange(1, 21))
    for labels in (first, last):
        assert metrics.auc(labels, constant) == 0.5
        assert Ranked.of(labels, constant, offsets).mrr() == pytest.approx(chance)
        assert Ranked.of(labels, constant, offsets).ndcg_each(5).mean() < 0.2


def test_accuracy_takes_zero_for_not_clicked_and_a_broken_score_for_wrong() -> None:
    labels = np.array([True, False, True, False, False, True])
    scores = np.array([0.1, -3.0, 0.0, 0.0, np.nan, np.inf])
    assert metrics.correct(labels, scores).tolist() == [True, True, False, True, False, False]
    assert metrics.accuracy(labels, scores) == 0.5


def test_infinite_scores_tie_with_each_other() -> None:
    labels = np.array([True, False, False])
    assert metrics.auc(labels, np.array([np.inf, np.inf, 0.0])) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: metrics.auc(np.array([True]), np.array([1.0, 2.0])), "one boolean and one float"),
        (lambda: metrics.auc(np.array([1.0, 0.0]), np.array([1.0, 2.0])), "one boolean and one float"),  # type: ignore[arg-type]
        (lambda: metrics.auc(np.array([True, True]), np.array([1.0, 2.0])), "at least one clicked"),
        (lambda: metrics.auc(np.array([True, False]), np.array([1.0, np.nan])), "NaN"),
        (lambda: metrics.accuracy(np.array([], dtype=bool), np.array([])), "not defined"),
        (lambda: Ranked.of(np.array([True, False]), np.array([1.0, 2.0]), np.array([0, 1])).mrr(), "offsets"),
        (lambda: Ranked.of(np.array([True, False]), np.array([1.0, 2.0]), np.array([0, 0, 2])).mrr(), "offsets"),
        (lambda: Ranked.of(np.array([True, False]), np.array([1.0, 2.0]), np.array([0, 2])).ndcg_each(0), "cut-off"),
        (lambda: metrics.gauc(np.array([True, False]), np.array([1.0, 2.0]), np.array([0])), "groups"),
        (
            lambda: Ranked.of(np.array([True, True]), np.array([1.0, 2.0]), np.array([0, 2])).auc(),
            "at least one clicked",
        ),
    ],
)
def test_what_has_no_value_is_refused(call: object, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        call()  # type: ignore[operator]


def drawn(seed: int, *, ties: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=OFFSETS[-1])
    return np.round(scores) if ties else scores


def ranked(scores: np.ndarray, offsets: np.ndarray = OFFSETS) -> Ranked:
    return Ranked.of(np.arange(len(scores)) % 3 == 0, scores, offsets)


def places(scores: np.ndarray, offsets: np.ndarray = OFFSETS) -> np.ndarray:
    return ranked(scores, offsets).places


def lists(scores: np.ndarray) -> list[np.ndarray]:
    return [scores[start:end] for start, end in pairwise(OFFSETS)]


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


@pytest.mark.parametrize(("above", "tied"), [(0, 0), (3, 0), (9, 0), (10, 0), (8, 5), (0, 30), (40, 2)])
def test_metrics_among_all_items_are_means_over_the_orders_of_ties(above: int, tied: int) -> None:
    ranks = np.arange(above + 1, above + tied + 2)
    found = metrics.catalog_metrics(np.array([above, 0]), np.array([tied, 0]))
    hits = ranks <= 10
    expected = (hits.mean(), (hits / np.log2(ranks + 1)).mean(), (1 / ranks).mean())
    assert np.allclose(found, [(value + 1) / 2 for value in expected])
