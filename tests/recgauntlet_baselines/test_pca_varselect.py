"""PCA-VarSelect: planted fakes are found without their number, and nobody is dropped where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from planted_fakes import FAKE, HONEST, ITEMS, poisoned
from scipy import sparse
from scipy.special import rel_entr

from recgauntlet.core.dataset import Pairs
from recgauntlet_baselines._profiles import profiles
from recgauntlet_baselines.defenses.pca_varselect import PCAVarSelect, distances, most_shared


def planted(seed: int, fakes: int) -> Pairs:
    """Fakes with fillers from the whole catalog."""
    return poisoned(seed, fakes, fillers=ITEMS - 1, tastes=2)


@pytest.mark.parametrize("fakes", [FAKE, 3 * FAKE])
@pytest.mark.parametrize("seed", [0, 1])
def test_planted_fakes_are_found_whatever_their_number(seed: int, fakes: int) -> None:
    pairs = planted(seed, fakes)
    gone = np.setdiff1d(pairs.users, PCAVarSelect().filter(pairs).users)
    recall, precision = (gone >= HONEST).sum() / fakes, (gone >= HONEST).mean()
    assert recall >= 0.75
    assert precision >= 0.85


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_fakes_nobody_is_dropped(seed: int) -> None:
    pairs = planted(seed, fakes=0)
    assert len(PCAVarSelect().filter(pairs)) == len(pairs)


def test_distances_are_those_of_the_dense_matrix() -> None:
    _, taken = profiles(planted(0, fakes=0))
    dense = taken.toarray()
    scores = (dense - dense.mean(axis=1, keepdims=True)) / dense.std(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(scores @ scores.T)
    expected = (vectors[:, -3:] ** 2).sum(axis=1)
    assert distances(taken, 3) == pytest.approx(expected, abs=1e-6)


def test_a_component_of_few_users_does_not_count() -> None:
    """Fakes that are alike make a component of their own; with it they would be the farthest instead of the nearest."""
    pairs = planted(0, fakes=0)
    copies = 30
    same = Pairs(
        np.concatenate([pairs.users, HONEST + np.arange(copies)]),
        np.concatenate([pairs.histories, np.tile(np.arange(250, 262), (copies, 1))]),
        np.concatenate([pairs.clicked, np.full(copies, 262)]),
        np.concatenate([pairs.unclicked, np.zeros(copies, dtype=np.int64)]),
    )
    users, taken = profiles(same)
    found = distances(taken, 2)
    assert found is not None
    fakes, honest = found[users >= HONEST], found[users < HONEST]
    assert fakes.max() < np.median(honest)


def test_the_scan_statistic_is_the_largest_over_items_and_rows() -> None:
    generator = np.random.default_rng(0)
    taken = (generator.random((30, 8)) < 0.2).astype(float)
    taken[:6, 5] = 1.0
    values = {}
    for item in range(8):
        for first in range(1, 16):
            h, total = taken[:first, item].sum(), taken[:, item].sum()
            if h / first > total / 30:
                parts = ((first, h / first), (30 - first, (total - h) / (30 - first)))
                q = total / 30
                values[item, first] = sum(n * (rel_entr(p, q) + rel_entr(1 - p, 1 - q)) for n, p in parts)
    best = max(values, key=lambda place: values[place])
    assert best[0] == 5
    assert most_shared(sparse.csr_array(taken)) == (pytest.approx(values[best]), *best)


def test_too_few_users_are_left_as_they_are() -> None:
    pairs = planted(0, fakes=0).select(np.arange(3))
    assert len(PCAVarSelect().filter(pairs)) == 3
