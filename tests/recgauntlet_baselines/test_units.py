"""The unit step of adversarial training keeps its length however small the gradient is."""

from __future__ import annotations

import pytest
import torch

from recgauntlet_baselines.defenses._adversarial import l2_unit


@pytest.mark.parametrize("size", [1e-30, 1e-24, 1e-12, 1.0, 1e6])
def test_a_unit_step_has_length_one_however_small_the_gradient_is(size: float) -> None:
    assert l2_unit(torch.full((1, 2, 3), size)).norm().item() == pytest.approx(1.0, rel=1e-4)


def test_no_gradient_gives_no_step() -> None:
    assert not l2_unit(torch.zeros(1, 2, 3)).any()
