"""The bootstrap: repeatable, of the right width, and honest about seeds; ranks that overlapping rows
share."""

from __future__ import annotations

import numpy as np
import pytest

from recgauntlet.metrics import bootstrap as stats
from recgauntlet.metrics.bootstrap import (
    Estimate,
    crossed_means,
    estimates,
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


def test_rows_that_cannot_be_told_apart_share_a_rank() -> None:
    rows = [Estimate(0.60, 0.55, 0.65), Estimate(0.62, 0.58, 0.66), Estimate(0.40, 0.35, 0.45)]
    assert shared_ranks(rows) == (1, 1, 3)


def test_in_a_chain_of_overlaps_only_a_clearly_better_row_pushes_down() -> None:
    rows = [Estimate(0.65, 0.60, 0.70), Estimate(0.60, 0.55, 0.65), Estimate(0.54, 0.50, 0.58)]
    assert shared_ranks(rows) == (1, 1, 2)


def test_intervals_that_touch_share_a_rank() -> None:
    assert shared_ranks([Estimate(0.6, 0.5, 0.7), Estimate(0.4, 0.3, 0.5)]) == (1, 1)
    assert shared_ranks([]) == ()


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
