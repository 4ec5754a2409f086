"""Whether two rows differ by more than chance: paired tests, and Holm's correction.

Differences are `[S, N]`: for each of S seeds and N test pairs, the mean outcome of one row's two examples less that of
the other's. Seeds are paired too: training of one seed starts from the same weights and sees the same batches. With
`flip_test` chance lies in the examples (these trained models), with `crossed_test` in the trainings as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recgauntlet.metrics.bootstrap import Floats

FLIPS = 9999
_SEED = 20240301
_CHUNK = 4_000_000
"""Signs held in memory at a time."""
LEVEL = 0.05
"""Up to it a p value is called significant."""


@dataclass(frozen=True)
class Components:
    """Variances of the difference of two rows, in squared shares.

    `training` is that of the mean difference between seeds, `pairs` that between test pairs which all seeds share, and
    `rest` that of a pair in one seed.
    """

    training: float
    pairs: float
    rest: float


@dataclass(frozen=True)
class Test:
    """A two-sided test of a mean difference of 0: the difference, its standard error, the degrees of freedom, and p."""

    __test__ = False  # pytest takes the name for one of its own

    difference: float
    error: float
    freedom: float
    p: float


def flip_test(differences: Floats, *, draws: int = FLIPS, seed: int = _SEED) -> float:
    """The p value of a paired permutation test of the mean of `differences [S, N]`.

    Each draw flips the signs of random pairs, in all seeds together (they share the pairs); p is the share of draws
    whose mean is at least as far from 0, the observed signs counted as one draw, so p is never 0. Raises ValueError
    where there is no seed or no pair.

    Source: Fisher's randomization test by Monte Carlo (Dwass 1957; Phipson and Smyth 2010 for the added draw).
    """
    by_pair = _checked(differences).mean(axis=0)
    moved = by_pair[by_pair != 0]
    if not len(moved):
        return 1.0
    observed = abs(float(moved.sum()))
    rng = np.random.default_rng(seed)
    step = max(1, _CHUNK // len(moved))
    as_far = 0
    for start in range(0, draws, step):
        signs = rng.integers(0, 2, size=(min(step, draws - start), len(moved)), dtype=np.int8)
        sums = 2 * (signs.astype(np.float64) @ moved) - moved.sum()
        as_far += int((np.abs(sums) >= observed - 1e-9).sum())
    return (1 + as_far) / (1 + draws)


def crossed_test(differences: Floats) -> Test:
    """A t test of the mean of `differences [S, N]` in which seeds and pairs are both random: hierarchical over the two
    levels that the mean averages over.

    The difference of seed s and pair n is taken for `mean + a_s + b_n + e_sn`. Its mean has the squared error
    `M / (S N)` with `M = max(MS_a + max(MS_b - MS_e, 0), MS_b)`, and `(S - 1) M^2 / MS_a^2` degrees of freedom (2 with
    three seeds that vary a lot). In simulations over many shares of the variances, false alarms at 5 % are 2 to 8 %
    with three seeds (up to 13 % with two), 2 to 6 % with five and with ten.

    Raises ValueError with fewer than two seeds or pairs. A difference that never varies has p 1 where it is 0, else 0.

    Source: the analysis of many readers and many cases (Dorfman, Berbaum and Metz 1992) for two modalities, with the
    degrees of freedom of Hillis (2007); a reader is a training here, and a case a test pair. Deviation: M is at least
    MS_b, because MS_a is near 0 where few seeds have similar means by chance.
    """
    from scipy import stats  # slow to import

    seeds, pairs = _checked(differences, least=2).shape
    mean = float(differences.mean())
    training, by_pair, rest = _mean_squares(differences)
    spread = max(training + max(by_pair - rest, 0.0), by_pair)
    if spread <= 0:
        return Test(mean, 0.0, float(seeds - 1), 1.0 if mean == 0 else 0.0)
    freedom = (seeds - 1) * (spread / training) ** 2 if training > 0 else float("inf")
    error = float(np.sqrt(spread / (seeds * pairs)))
    p = float(2 * stats.t.sf(abs(mean) / error, min(freedom, 1e12)))
    return Test(mean, error, freedom, p)


def components(differences: Floats) -> Components:
    """The variances behind `differences [S, N]`, by the expected mean squares of `crossed_test`'s model; negative
    estimates are 0. Raises ValueError with fewer than two seeds or pairs."""
    seeds, pairs = _checked(differences, least=2).shape
    training, by_pair, rest = _mean_squares(differences)
    return Components(max(training - rest, 0.0) / pairs, max(by_pair - rest, 0.0) / seeds, rest)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """`p_values` of one family, corrected so that the chance of any false alarm among them stays at the level.

    The k-th smallest of m is multiplied by m - k + 1, and none falls below one that was smaller.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(p_values, kind="stable")
    count = len(order)
    raised = np.asarray(p_values, dtype=np.float64)[order] * np.arange(count, 0, -1)
    corrected = np.empty(count)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(raised))
    return tuple(corrected.tolist())


def stars(p: float) -> str:
    """`***` up to 0.001, `**` up to 0.01, `*` up to 0.05, else nothing."""
    return "***" if p <= 0.001 else "**" if p <= 0.01 else "*" if p <= LEVEL else ""


def p_text(p: float) -> str:
    """A p value as text: "p = 0.034", "p < 0.001"."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _mean_squares(differences: Floats) -> tuple[float, float, float]:
    """The mean squares of seeds, of pairs, and of what is left."""
    seeds, pairs = differences.shape
    mean = differences.mean()
    by_seed, by_pair = differences.mean(axis=1), differences.mean(axis=0)
    left = differences - by_seed[:, None] - by_pair[None, :] + mean
    return (
        float(pairs * ((by_seed - mean) ** 2).sum() / (seeds - 1)),
        float(seeds * ((by_pair - mean) ** 2).sum() / (pairs - 1)),
        float((left**2).sum() / ((seeds - 1) * (pairs - 1))),
    )


def _checked(differences: Floats, least: int = 1) -> Floats:
    if differences.ndim != 2 or min(differences.shape) < least:
        raise ValueError(f"differences [S, N] need at least {least} seeds and pairs, not {differences.shape}")
    return differences
