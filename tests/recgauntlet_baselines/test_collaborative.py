from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.types import PAD, IntArray
from recgauntlet_baselines.models._collaborative import by_adding, by_sparse_product, edges, folded_in, spectral_items


def few_pairs() -> Pairs:
    return Pairs(
        np.array([1, 1, 0]), np.array([[PAD, 5], [5, 2], [PAD, PAD]]), np.array([2, 7, 5]), np.array([3, 4, 6])
    )


def test_a_history_is_looked_up_and_summed_as_its_embeddings_are() -> None:
    table = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    histories = torch.tensor([[PAD, PAD, PAD], [PAD, 2, 6], [0, 0, 5]])
    quick = folded_in(table, histories)
    plain = folded_in(table, histories, F.embedding(histories.clamp(min=0), table))
    torch.testing.assert_close(quick, plain)
    assert not quick[0].any()
    slopes = [torch.autograd.grad(found.square().sum(), table)[0] for found in (quick, plain)]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gradient_is_given_back_alike_by_both_ways(dtype: torch.dtype) -> None:
    slope, weights = torch.randn(5, 3, dtype=dtype), torch.rand(5, 4, dtype=dtype)
    places = torch.randint(0, 7, (5, 4))
    one, other = (way(slope, places, weights, 9) for way in (by_sparse_product, by_adding))
    assert one.dtype == dtype
    torch.testing.assert_close(one, other)
    assert not one[7:].any()


def test_half_precision_learns_too() -> None:
    """Which scipy does not know."""
    table = torch.randn(7, 3).bfloat16().requires_grad_(True)
    folded_in(table, torch.tensor([[PAD, 2, 6]])).sum().backward()
    assert table.grad is not None
    torch.testing.assert_close(table.grad[2], torch.full((3,), 0.5**0.5).bfloat16(), rtol=1e-2, atol=0)


def test_edges_are_what_was_clicked_or_stands_in_a_history_each_once() -> None:
    users, items = edges(few_pairs())
    assert list(zip(users.tolist(), items.tolist(), strict=True)) == [(0, 5), (1, 2), (1, 5), (1, 7)]


def test_spectral_items_are_right_singular_vectors_of_the_matrix_scaled_down_by_degrees() -> None:
    users, items = np.nonzero(np.random.default_rng(0).random((12, 9)) < 0.4)
    count = len(users)
    empty: IntArray = np.full((count, 2), PAD)
    pairs = Pairs(users, empty, items, np.zeros(count, dtype=np.int64))
    dense = torch.zeros(12, 9, dtype=torch.float64)
    dense[users, items] = 1.0
    dense *= (dense.sum(dim=1, keepdim=True) * dense.sum(dim=0)).clamp(min=1).pow(-0.25)
    right = torch.linalg.svd(dense).Vh[:3].T
    found = spectral_items(pairs, (12, 9), 3)
    torch.testing.assert_close(found.abs(), right.abs(), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(found @ found.T, right @ right.T)
    assert torch.equal(found, spectral_items(pairs, (12, 9), 3))


@pytest.mark.parametrize(("shape", "columns"), [((2, 8), 1), ((1, 8), 0)])
def test_a_small_matrix_has_few_vectors(shape: tuple[int, int], columns: int) -> None:
    pairs = few_pairs()
    if shape[0] == 1:
        pairs = Pairs(np.zeros(3, dtype=np.int64), pairs.histories, pairs.clicked, pairs.unclicked)
    assert spectral_items(pairs, shape, 4).shape == (8, columns)
