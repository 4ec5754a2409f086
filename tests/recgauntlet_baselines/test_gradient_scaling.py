from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toy_problem import at, gradients_of, toy_batch, toy_model

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet_baselines.defenses.gradient_scaling import GradientScaling, norm_of, scaled_sum
from recgauntlet_baselines.defenses.pgd import PGD


def apart(model: Recommender, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients of the clean and of the adversarial loss, each from a pass of its own."""
    parameters = list(model.parameters())
    clean = torch.autograd.grad(PGD().sides(model, batch, at(0.75)).clean_loss, parameters)
    adversarial = PGD().sides(model, batch, at(0.75)).adversarial_loss
    assert adversarial is not None
    return list(clean), list(torch.autograd.grad(adversarial, parameters))


def test_the_adversarial_gradient_has_lam_times_the_clean_length() -> None:
    model, batch = toy_model(), toy_batch()
    clean, adversarial = apart(model, batch)
    ratio = norm_of([*clean]) / norm_of([*adversarial])
    assert abs(float(ratio) - 1) > 0.1, "the lengths must differ for this test to mean anything"
    expected = [a + 0.6 * ratio * b for a, b in zip(clean, adversarial, strict=True)]
    found = gradients_of(GradientScaling(lam=0.6), model, batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    added: list[Tensor | None] = [g - c for g, c in zip(found, clean, strict=True)]
    assert float(norm_of(added)) == pytest.approx(0.6 * float(norm_of([*clean])), rel=1e-4)


def test_parameters_that_one_loss_alone_reaches_keep_their_gradient() -> None:
    one, two, factor = torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor(3.0)
    assert scaled_sum(one, None, factor) is one
    assert scaled_sum(None, two, factor) == 6.0
    assert scaled_sum(one, two, factor) == 7.0
    assert scaled_sum(None, None, factor) is None
