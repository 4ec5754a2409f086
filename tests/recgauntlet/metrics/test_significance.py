"""The tests of differences agree with oracles and keep their level under the null."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recgauntlet.metrics import significance
from recgauntlet.metrics.significance import components, crossed_test, flip_test, holm, p_text, stars


def drawn(
    rng: np.random.Generator, seeds: int, pairs: int, *, mean: float = 0.0, training: float = 0.0, pair: float = 0.0
) -> np.ndarray:
    """Normal differences `[S, N]` with the given standard deviations of seeds and pairs, and 1 for the rest."""
    seed_part = rng.normal(0, training, (seeds, 1)) if training else np.zeros((seeds, 1))
    pair_part = rng.normal(0, pair, (1, pairs)) if pair else np.zeros((1, pairs))
    return mean + seed_part + pair_part + rng.normal(size=(seeds, pairs))


def test_holm_gives_the_published_values() -> None:
    # statsmodels.stats.multitest.multipletests(..., method="holm") gives these
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == (0.02,)
    assert holm([]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_raises_keeps_the_order_and_is_no_stricter_than_bonferroni(values: list[float]) -> None:
    corrected = holm(values)
    for raw, done in zip(values, corrected, strict=True):
        assert raw <= done <= min(1.0, raw * len(values)) + 1e-12
    order = np.argsort(values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_flip_test_agrees_with_scipys_exact_permutations(seeds: int) -> None:
    differences = np.random.default_rng(seeds).normal(0.3, 1, (seeds, 12))
    exact = stats.permutation_test((differences.mean(axis=0),), np.mean, permutation_type="samples", n_resamples=5000)
    assert exact.null_distribution.size == 2**12
    assert flip_test(differences) == pytest.approx(exact.pvalue, abs=0.015)


def test_p_values_of_the_flip_test_are_uniform_where_there_is_no_difference() -> None:
    rng = np.random.default_rng(2)
    found = [flip_test(drawn(rng, 3, 60, pair=0.5), draws=399) for _ in range(500)]
    assert stats.kstest(found, "uniform").pvalue > 0.01


def test_the_flip_test_sees_a_difference_and_gives_the_same_p_again() -> None:
    differences = drawn(np.random.default_rng(3), 3, 200, mean=0.4)
    assert flip_test(differences) == 1 / (1 + significance.FLIPS)
    assert flip_test(differences[:, :9]) == flip_test(differences[:, :9])
    assert flip_test(differences[:, :9]) == flip_test(-differences[:, :9])


def test_the_memory_chunks_of_the_flip_test_do_not_change_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = drawn(np.random.default_rng(4), 2, 50, mean=0.1)
    whole = flip_test(differences, draws=999)
    monkeypatch.setattr(significance, "_CHUNK", 50 * 100)
    assert flip_test(differences, draws=999) == whole


def test_rows_that_never_differ_have_p_one() -> None:
    assert flip_test(np.zeros((3, 40))) == 1.0
    assert crossed_test(np.zeros((3, 40))).p == 1.0


def test_the_crossed_test_is_a_t_test_over_seeds_where_all_chance_lies_in_the_training() -> None:
    means = np.array([[0.3], [0.5], [0.1]])
    found = crossed_test(np.repeat(means, 50, axis=1))
    oracle = stats.ttest_1samp(means[:, 0], 0)
    assert (found.p, found.freedom) == (pytest.approx(oracle.pvalue), 2)


def test_the_crossed_test_is_a_z_test_over_pairs_where_all_chance_lies_in_them() -> None:
    pairs = np.random.default_rng(5).normal(0.1, 1, 400)
    found = crossed_test(np.repeat(pairs[None], 3, axis=0))
    assert found.error == pytest.approx(pairs.std(ddof=1) / 20)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(pairs.mean()) / found.error))


@pytest.mark.parametrize(
    ("seeds", "training", "pair", "most"),
    [(3, 0.0, 0.5, 0.075), (3, 0.1, 0.5, 0.09), (5, 0.3, 0.0, 0.065), (10, 0.2, 1.0, 0.065)],
)
def test_the_crossed_test_keeps_about_its_level_when_trainings_vary(
    seeds: int, training: float, pair: float, most: float
) -> None:
    """With three seeds it errs a little more often than it says; its docstring tells by how much."""
    rng = np.random.default_rng(6)
    alarms = np.mean([crossed_test(drawn(rng, seeds, 100, training=training, pair=pair)).p < 0.05 for _ in range(2000)])
    assert 0.02 <= alarms <= most


def test_the_flip_test_does_not_speak_of_new_trainings() -> None:
    """Which is why the tables use the other one: here it raises an alarm every second time."""
    rng = np.random.default_rng(7)
    cells = [drawn(rng, 3, 400, training=0.2) for _ in range(200)]
    assert np.mean([flip_test(cell, draws=199) < 0.05 for cell in cells]) > 0.3
    assert np.mean([crossed_test(cell).p < 0.05 for cell in cells]) < 0.1


def test_the_variances_are_found_again() -> None:
    rng = np.random.default_rng(8)
    found = [components(drawn(rng, 5, 300, training=0.3, pair=0.7)) for _ in range(300)]
    assert np.mean([part.training for part in found]) == pytest.approx(0.09, rel=0.1)
    assert np.mean([part.pairs for part in found]) == pytest.approx(0.49, rel=0.05)
    assert np.mean([part.rest for part in found]) == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("shape", [(1, 10), (3, 1), (0, 0)])
def test_too_little_to_test_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 2 seeds and pairs"):
        crossed_test(np.zeros(shape))
    with pytest.raises(ValueError, match="at least 1"):
        flip_test(np.zeros((0, 4)))


def test_p_values_in_words() -> None:
    assert [stars(p) for p in (0.001, 0.002, 0.01, 0.02, 0.05, 0.051)] == ["***", "**", "**", "*", "*", ""]
    assert [p_text(p) for p in (0.0001, 0.034, 0.5)] == ["p < 0.001", "p = 0.034", "p = 0.50"]


def test_seeds_that_happen_to_agree_do_not_make_a_difference_sure() -> None:
    """Three seeds, each with one pair more and another pair less right than wrong by chance: the same means."""
    differences = np.zeros((3, 500))
    for seed in range(3):
        differences[seed, 10 * seed : 10 * seed + 6] = [1, 1, 1, -1, -1, 0.5]
    found = crossed_test(differences)
    assert found.difference == pytest.approx(0.003)
    assert found.p > 0.05
