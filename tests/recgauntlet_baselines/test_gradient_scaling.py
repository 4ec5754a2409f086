from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toy_steps import at, gradients_of, toy_batch, trained_toy

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.training.cost import count_passes
from recgauntlet_baselines.defenses.gradient_scaling import GradientScaling, norm_of, scaled_sum
from recgauntlet_baselines.defenses.pgd import PGD
from recgauntlet_baselines.defenses.standard import Standard


def apart(model: Recommender, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
    """The gradients of the clean and of the adversarial loss, each from a pass of its own."""
    parameters = list(model.parameters())
    clean = torch.autograd.grad(PGD().losses(model, batch, at(0.75))[0], parameters)
    adversarial = PGD().losses(model, batch, at(0.75))[1]
    assert adversarial is not None
    return list(clean), list(torch.autograd.grad(adversarial, parameters))


def test_the_adversarial_gradient_has_lam_times_the_clean_length() -> None:
    model, batch = trained_toy(), toy_batch()
    clean, adversarial = apart(model, batch)
    ratio = norm_of([*clean]) / norm_of([*adversarial])
    assert abs(float(ratio) - 1) > 0.1, "the lengths must differ for this test to mean anything"
    expected = [a + 0.6 * ratio * b for a, b in zip(clean, adversarial, strict=True)]
    found = gradients_of(GradientScaling(lam=0.6), model, batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    added: list[Tensor | None] = [g - c for g, c in zip(found, clean, strict=True)]
    assert float(norm_of(added)) == pytest.approx(0.6 * float(norm_of([*clean])), rel=1e-4)


def test_lam_zero_and_the_first_step_are_plain_training() -> None:
    model, batch = trained_toy(), toy_batch()
    plain = gradients_of(Standard(), model, batch)
    torch.testing.assert_close(gradients_of(GradientScaling(lam=0.0), model, batch), plain)
    torch.testing.assert_close(gradients_of(GradientScaling(), model, batch, progress=0.0), plain)


def test_it_takes_the_passes_of_pgd() -> None:
    model, batch = trained_toy(), toy_batch()
    counts = []
    for defense in (PGD(steps=2), GradientScaling(steps=2)):
        with count_passes(model) as passes:
            gradients_of(defense, model, batch)
        counts.append((passes.forwards, passes.backwards))
    assert counts == [(3 * len(batch), 3 * len(batch))] * 2


def test_parameters_that_one_loss_alone_reaches_keep_their_gradient() -> None:
    one, two, factor = torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor(3.0)
    assert scaled_sum(one, None, factor) is one
    assert scaled_sum(None, two, factor) == 6.0
    assert scaled_sum(one, two, factor) == 7.0
    assert scaled_sum(None, None, factor) is None
