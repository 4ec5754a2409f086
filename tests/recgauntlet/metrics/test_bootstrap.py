"""The bootstrap: repeatable, of the right width, and honest about seeds; p values and shared ranks."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgauntlet.metrics import bootstrap as stats
from recgauntlet.metrics.bootstrap import (
    Estimate,
    RankRange,
    crossed_means,
    estimates,
    paired_p,
    rank_range,
    resampled_means,
    shared_ranks,
)


def interval(outcomes: np.ndarray) -> Estimate:
    return estimates([float(outcomes.mean())], resampled_means(outcomes))[0]


def test_with_one_seed_the_interval_has_the_width_of_the_normal_approximation() -> None:
    outcomes = (np.random.default_rng(1).random((1, 2000, 1)) < 0.7).astype(float)
    found = interval(outcomes)
    error = outcomes.std() / np.sqrt(2000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        found = interval((rng.random((1, 200, 1)) < 0.6).astype(float))
        hits += found.low <= 0.6 <= found.high
    assert 180 <= hits <= 199


def test_seeds_that_differ_widen_the_interval_though_each_is_certain() -> None:
    alike = np.full((3, 400, 1), 0.5)
    differ = np.stack([np.zeros((400, 1)), np.full((400, 1), 0.5), np.ones((400, 1))])
    assert interval(alike).high - interval(alike).low == 0
    assert interval(differ).high - interval(differ).low > 0.6


def test_examples_stay_paired_between_seeds_and_quantities() -> None:
    """A quantity that is 1 where another is 0 sums with it to 1 in every draw; with unpaired draws it would
    not."""
    first = (np.random.default_rng(3).random((3, 300, 1)) < 0.5).astype(float)
    drawn = resampled_means(np.concatenate([first, 1 - first], axis=2))
    assert np.allclose(drawn.sum(axis=1), 1)
    same = np.repeat(first[:1], 3, axis=0)
    assert interval(same).low == pytest.approx(interval(first[:1]).low, abs=0.02)


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        resampled_means(np.zeros((0, 5, 1)))


def test_p_is_twice_the_share_of_draws_on_the_other_side() -> None:
    draws = np.stack([np.r_[np.full(50, -0.1), np.full(1950, 0.1)], np.full(2000, 0.1), np.zeros(2000)], axis=1)
    assert paired_p(np.array([0.1, -0.1, 0.0]), draws).tolist() == [0.05, 1.0, 1.0]
    assert paired_p(np.array([0.1, 0.1, 0.1]), draws).tolist() == [0.05, 0.0, 1.0]


def test_p_of_a_paired_difference_keeps_about_its_level_where_trainings_do_not_vary() -> None:
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(300):
        differences = np.repeat(rng.integers(-1, 2, size=(1, 200, 1)) / 2, 3, axis=0)
        p = paired_p(differences.mean(axis=(0, 1)), resampled_means(differences, draws=400))
        alarms += int((p <= 0.05).sum())
    assert 3 <= alarms <= 30


def better_of(count: int, *pairs: tuple[int, int]) -> np.ndarray:
    found = np.zeros((count, count), dtype=bool)
    for pair in pairs:
        found[pair] = True
    return found


def test_a_rank_is_one_plus_the_rows_that_are_better() -> None:
    values = np.array([0.60, 0.62, 0.40, 0.50])
    assert shared_ranks(values, better_of(4, (0, 2), (1, 2), (3, 2), (1, 3))) == (1, 1, 4, 2)
    assert shared_ranks(np.zeros(0), better_of(0)) == ()


def test_a_noisier_row_has_no_better_rank_than_one_with_a_higher_value() -> None:
    assert shared_ranks(np.array([0.7, 0.6, 0.5]), better_of(3, (0, 1))) == (1, 2, 2)


def test_rows_of_one_value_share_a_rank() -> None:
    assert shared_ranks(np.array([0.5, 0.7, 0.5]), better_of(3, (1, 0))) == (2, 1, 2)


@given(st.lists(st.integers(0, 8), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_ranks_follow_the_values_and_never_contradict_the_test(values: list[int], rng: random.Random) -> None:
    count = len(values)
    pairs = [(a, b) for a in range(count) for b in range(count) if values[a] > values[b] and rng.random() < 0.4]
    ranks = shared_ranks(np.array(values, dtype=float), better_of(count, *pairs))
    for a in range(count):
        assert 1 <= ranks[a] <= sum(other >= values[a] for other in values)
        for b in range(count):
            assert values[a] < values[b] or ranks[a] <= ranks[b]
    assert all(ranks[a] < ranks[b] for a, b in pairs)


def test_crossed_means_vary_with_items_and_with_users_by_themselves() -> None:
    """Outcomes that only items (or only users) tell apart have the spread of a mean of so many items (or users)."""
    by_item = np.repeat(np.arange(9.0)[:, None], 25, axis=1)
    by_user = np.repeat(np.arange(25.0)[None, :], 9, axis=0)
    means = crossed_means([np.stack([by_item, by_user, np.ones((9, 25))], axis=2)])
    assert means.mean(axis=0) == pytest.approx([4, 12, 1], abs=0.15)
    expected = [np.arange(9).std() / 3, np.arange(25).std() / 5, 0]
    assert means.std(axis=0) == pytest.approx(expected, rel=0.06, abs=1e-12)


def test_crossed_means_resample_seeds_and_refuse_nothing_at_all() -> None:
    means = crossed_means([np.full((3, 4, 1), value) for value in (0.0, 1.0)])
    assert set(means.ravel().tolist()) == {0.0, 0.5, 1.0}
    with pytest.raises(ValueError, match="at least one"):
        crossed_means([])
    with pytest.raises(ValueError, match="at least one"):
        crossed_means([np.ones((0, 4, 1))])


BOUNDS = [(1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2]


def means_by_definition(outcomes: np.ndarray) -> np.ndarray:
    """The means `[R, M]` with all draws made at once."""
    seeds, examples, _ = outcomes.shape
    rng = np.random.default_rng(stats._SEED)
    weights = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=stats.DRAWS)
    drawn = rng.integers(0, examples, size=(stats.DRAWS, examples))
    counts = np.stack([np.bincount(row, minlength=examples) for row in drawn])
    sums = np.einsum("rn,snm->rsm", counts.astype(np.float64), outcomes)
    return np.einsum("rs,rsm->rm", weights.astype(np.float64), sums) / (seeds * examples)


@pytest.mark.parametrize("seeds", [1, 2, 3, 7])
def test_means_are_those_of_the_definition_to_the_last_bit(seeds: int) -> None:
    """But for real numbers: their sums are rounded in another order."""
    rng = np.random.default_rng(5)
    outcomes, real = rng.integers(-2, 3, (seeds, 60, 4)) / 2, rng.normal(size=(seeds, 60, 4))
    found = resampled_means(outcomes)
    assert found.tolist() == means_by_definition(outcomes).tolist()
    assert resampled_means(real) == pytest.approx(means_by_definition(real), rel=1e-12, abs=1e-12)
    assert resampled_means(outcomes).tolist() == found.tolist()  # now with the draws that were kept


@pytest.mark.parametrize("draws", [1, 2, 39, 1000])
def test_an_interval_has_numpys_quantiles_and_contains_its_value(draws: int) -> None:
    means = np.random.default_rng(draws).normal(size=(draws, 2))
    inside, outside = estimates([float(np.median(means[:, 0])), 9.0], means)
    assert [inside.low, inside.high] == np.quantile(means[:, 0], BOUNDS).tolist()
    assert (outside.low, outside.high) == (np.quantile(means[:, 1], BOUNDS[0]), 9.0)
    assert estimates([inside.value], means[:, :1]) == [inside]


def test_the_range_of_a_rank_holds_its_quantiles_over_the_draws() -> None:
    draws = np.zeros(2000)
    draws[:49], draws[49:100], draws[100:200] = 5, 4, 1
    assert rank_range(draws, np.zeros(2000)) == RankRange(1, 5, 0.9)  # 5 ahead in less than 2.5 % of the draws
    draws[:60] = 5
    assert rank_range(draws, np.zeros(2000)) == RankRange(1, 6, 0.9)
    assert str(RankRange(1, 6, 0.9)) == "1–6"
    assert str(RankRange(2, 2, 0.0)) == "2"


def test_rows_that_are_best_in_a_draw_together_share_it() -> None:
    best = rank_range(np.array([0.0, 0, 1]), np.array([0.0, 2, 0])).best
    assert best == pytest.approx((1 + 1 / 3) / 3)


def test_rows_that_a_row_cannot_be_compared_with_may_be_on_either_side() -> None:
    assert rank_range(np.zeros(3), np.zeros(3), unknown=2) == RankRange(1, 3, pytest.approx(1 / 3))


@pytest.mark.parametrize(
    ("best", "text"), [(1.0, "100"), (0.9968, ">99"), (0.455, "46"), (0.0015, "<1"), (0.0, "0"), (0.994, "99")]
)
def test_the_probability_of_being_best_is_not_rounded_to_certainty(best: float, text: str) -> None:
    assert RankRange(1, 2, best).best_percent == text
