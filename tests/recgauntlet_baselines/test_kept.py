"""Rows that are kept between passes: made once, and never in training."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from recgauntlet_baselines.models._kept import KeptRows


def test_rows_are_made_once_outside_training_alone() -> None:
    weight = nn.Parameter(torch.ones(2))
    rows, made = KeptRows(6), []

    def make(numbers: Tensor) -> Tensor:
        made.append(numbers.tolist())
        return numbers[:, None] * weight

    def asked(rows: KeptRows, *numbers: int, training: bool = False) -> list[float]:
        made.clear()
        found = rows.of(torch.tensor(numbers, dtype=torch.long), [weight], make, training=training)
        return found[:, 0].tolist()

    with torch.no_grad():
        assert (asked(rows, 4, 1, 4), made) == ([4, 1, 4], [[1, 4]])
        assert (asked(rows, 1, 5), made) == ([1, 5], [[5]])
        assert (asked(rows, 1, 5, training=True), made) == ([1, 5], [[1, 5]])  # which draws dropout
        assert (asked(copy.deepcopy(rows), 1), made) == ([1], [[1]])
        assert asked(rows) == []
        weight.mul_(2)
        assert (asked(rows, 1), made) == ([2], [[1]])
    assert (asked(rows, 1), made) == ([2], [[1]])
