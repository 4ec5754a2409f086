"""Groups by value, gaps between groups, and bootstrap means of groups."""

from __future__ import annotations

import numpy as np
import pytest

from recgauntlet.metrics.bootstrap import DRAWS, means_by_group, resampled_means
from recgauntlet.metrics.exposure import top_chances
from recgauntlet.metrics.groups import fifths, gap_change, largest_gap


def test_fifths_are_of_equal_size_where_values_differ() -> None:
    values = np.random.default_rng(0).permutation(100) + 1
    bounds, groups = fifths(values)
    assert bounds == ((1, 20), (21, 40), (41, 60), (61, 80), (81, 100))
    assert np.bincount(groups).tolist() == [20] * 5
    assert all(bounds[group][0] <= value <= bounds[group][1] for value, group in zip(values, groups, strict=True))


@pytest.mark.parametrize(
    ("values", "bounds", "sizes"),
    [
        ([0] * 86 + [5, 6, 7, 8, 9] * 2 + [30] * 4, ((0, 0), (5, 30)), [86, 14]),
        ([1] * 8 + [2] * 7 + [50] * 85, ((1, 2), (50, 50)), [15, 85]),
        ([7] * 10, ((7, 7),), [10]),
        ([3], ((3, 3),), [1]),
        ([0, 4], ((0, 0), (4, 4)), [1, 1]),
    ],
)
def test_equal_values_share_a_group_and_no_group_is_empty(
    values: list[int], bounds: tuple[tuple[int, int], ...], sizes: list[int]
) -> None:
    found, groups = fifths(np.array(values))
    assert found == bounds
    assert np.bincount(groups).tolist() == sizes


def test_bootstrap_means_of_groups_are_of_the_draws_of_all_other_intervals() -> None:
    rng = np.random.default_rng(1)
    outcomes, groups = rng.random((3, 50, 2)), rng.integers(-1, 2, 50)
    means, draws = means_by_group(outcomes, groups)
    for group in range(2):
        assert means[group] == pytest.approx(outcomes[:, groups == group].mean(axis=(0, 1)))
        inside = np.broadcast_to((groups == group)[None, :, None], outcomes.shape)
        share, size = resampled_means(outcomes * inside), resampled_means(inside.astype(np.float64))
        assert draws[:, group] == pytest.approx(share / size)
    whole, all_draws = means_by_group(outcomes, np.zeros(50, dtype=np.int64))
    assert whole[0] == pytest.approx(outcomes.mean(axis=(0, 1)))
    assert all_draws[:, 0] == pytest.approx(resampled_means(outcomes))
    alone = np.array([0] * 49 + [1])  # a third of the draws have no example of this group
    assert means_by_group(outcomes, alone)[1][:, 1].mean(axis=0) == pytest.approx(
        outcomes[:, 49].mean(axis=0), abs=0.02
    )
    for wrong in (np.full(50, -1), np.array([0] * 49 + [2])):
        with pytest.raises(ValueError, match="an example in each group"):
            means_by_group(outcomes, wrong)


def test_the_interval_of_the_largest_gap_holds_for_the_groups_that_were_picked() -> None:
    """Of five equal groups the extremes are never equal, but their gap is none; a true gap is found."""
    rng, found = np.random.default_rng(2), []
    for gap in (0.0, 0.15):
        accuracy = 0.5 + gap * np.array([0, 1, 0, 0, 0])
        inside = 0
        for _ in range(50):
            groups = rng.integers(0, 5, 1000)
            outcomes = (rng.random((1, 1000, 1)) < accuracy[groups][None, :, None]).astype(np.float64)
            means, draws = means_by_group(outcomes, groups)
            one = largest_gap(means[:, 0], draws[:, :, 0])
            inside += one.gap.low <= gap <= one.gap.high
            found.append(one.p <= 0.05)
        assert inside >= 46
    assert sum(found[:50]) <= 5
    assert sum(found[50:]) >= 30


def test_false_alarms_are_rare_though_the_groups_that_are_furthest_apart_are_picked() -> None:
    """Two rows of one true accuracy in all groups, and of one true gap; then one whose gap is wider."""
    twin, rng = np.linspace(0.55, 0.65, 5), np.random.default_rng(3)
    alarms = {
        name: sum(_told_apart(rng, defended, undefended) for _ in range(40))
        for name, defended, undefended in (
            ("equal", np.full(5, 0.6), np.full(5, 0.6)),
            ("gap", twin, twin),
            ("wider", twin + np.linspace(-0.15, 0.15, 5), twin),
        )
    }
    assert alarms["equal"] <= 3
    assert alarms["gap"] <= 3
    assert alarms["wider"] >= 30


def _told_apart(rng: np.random.Generator, defended: np.ndarray, undefended: np.ndarray) -> bool:
    """Whether the test tells two rows of these accuracies apart, on three seeds and 500 pairs that both share."""
    groups, hard = rng.integers(0, 5, 500), rng.normal(0, 0.2, 500)
    right = [rng.random((2, 3, 500)) < row[groups] + hard for row in (defended, undefended)]
    outcomes = np.stack([both.mean(axis=0) for both in right], axis=2)
    return gap_change(*means_by_group(outcomes, groups)).p <= 0.05


def test_a_gap_needs_two_groups_and_names_the_extremes() -> None:
    values = np.array([0.5, 0.9, 0.2])
    one = largest_gap(values, np.tile(values, (DRAWS, 1)))
    assert (one.best, one.worst, one.gap.value, one.p) == (1, 2, pytest.approx(0.7), 0.0)
    assert one.gap.low == one.gap.high == one.gap.value
    with pytest.raises(ValueError, match="at least two groups"):
        largest_gap(values[:1], values[None, :1])
    with pytest.raises(ValueError, match="at least two groups"):
        gap_change(values[:1, None], values[None, :1, None])


def test_tied_items_share_the_last_places() -> None:
    assert top_chances(np.array([3.0, 1.0, 2.0, 1.0, -np.inf]), 3).tolist() == [1, 0.5, 1, 0.5, 0]
    assert top_chances(np.array([-np.inf, 2.0]), 10).tolist() == [1, 1]
    assert top_chances(np.zeros(20), 10).sum() == pytest.approx(10)
