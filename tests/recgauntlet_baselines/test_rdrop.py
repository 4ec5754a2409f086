from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, kl_divergence
from toy_problem import at, loss_of, toy_batch, toy_model

from recgauntlet.training.cost import count_passes
from recgauntlet.training.defense import click_loss
from recgauntlet_baselines.defenses import rdrop
from recgauntlet_baselines.defenses._consistency import symmetric_kl
from recgauntlet_baselines.defenses.rdrop import RDrop
from recgauntlet_baselines.defenses.standard import Standard


def test_divergence_is_that_of_both_ways_and_stays_finite() -> None:
    first, second = torch.tensor([0.3, -2.0, 4.0]), torch.tensor([0.3, 1.0, 3.0])
    p, q = Bernoulli(logits=first), Bernoulli(logits=second)
    torch.testing.assert_close(symmetric_kl(first, second), kl_divergence(p, q) + kl_divergence(q, p))
    assert torch.isfinite(symmetric_kl(torch.tensor([500.0]), torch.tensor([-500.0]))).all()


def test_loss_is_the_mean_of_two_losses_and_half_the_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = toy_model(), toy_batch()
    draw = torch.Generator().manual_seed(1)
    first, second = torch.randn(len(batch), generator=draw), torch.randn(len(batch), generator=draw)
    passes = iter([first, second])
    monkeypatch.setattr(rdrop, "model_scores", lambda model, batch: next(passes))
    p, q = Bernoulli(logits=first), Bernoulli(logits=second)
    divergence = (kl_divergence(p, q) + kl_divergence(q, p)).mean() / 2
    expected = (click_loss(first, batch) + click_loss(second, batch)) / 2 + 3.0 * divergence
    assert float(RDrop(alpha=3.0).training_loss(model, batch, at(0.5))) == pytest.approx(float(expected), rel=1e-5)


def test_without_dropout_it_is_plain_training_at_twice_the_price() -> None:
    model, batch = toy_model(), toy_batch()
    with count_passes(model) as passes:
        assert loss_of(RDrop(alpha=9.0), model, batch) == pytest.approx(loss_of(Standard(), model, batch))
    assert passes.forwards == 3 * len(batch)
