from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy_problem import at, gradients, problem, require_same, scores_at, toy_batch, toy_model

from recgauntlet_baselines.defenses._adversarial import l2_unit
from recgauntlet_baselines.defenses._consistency import START, bernoulli_kl, random_start, symmetric_kl
from recgauntlet_baselines.defenses.trades import TRADES


def test_divergence_is_that_of_two_chances() -> None:
    first, second = torch.tensor([0.3, -2.0, 1.5]).double(), torch.tensor([-1.0, 0.7, 1.5]).double()
    p, q = torch.sigmoid(first), torch.sigmoid(second)
    by_hand = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    torch.testing.assert_close(bernoulli_kl(first, second), by_hand)
    torch.testing.assert_close(symmetric_kl(first, second), by_hand + bernoulli_kl(second, first))
    assert float(bernoulli_kl(first, second)[2]) == 0.0


def test_divergence_of_confident_and_half_precision_logits_keeps_a_gradient() -> None:
    """All chances are 1 here in single precision."""
    second = torch.tensor([25.0, 60.0]).bfloat16().requires_grad_(True)
    value = bernoulli_kl(torch.tensor([20.0, 40.0]).bfloat16(), second)
    assert value.dtype == torch.float32
    (gradient,) = torch.autograd.grad(value.sum(), second)
    assert torch.isfinite(value).all()
    assert (gradient > 0).all(), "more certain than the first is further away"


def test_the_loss_is_clean_plus_beta_times_the_divergence_at_the_perturbation() -> None:
    model, batch = toy_model(), toy_batch()
    defense = TRADES(epsilon=0.4, beta=1.7, warmup=0.0)
    inner = problem(model, batch)
    clean = scores_at(inner)
    delta = defense.perturb(inner, clean, 0.4 * inner.norm, at(1.0))
    p, q = torch.sigmoid(clean), torch.sigmoid(scores_at(inner, delta))
    divergence = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    expected = model.click_loss(clean, batch) + 1.7 * divergence.mean()
    assert float(defense.training_loss(model, batch, at(1.0)).detach()) == pytest.approx(float(expected), rel=1e-5)
    assert divergence.mean() > 0.01


def test_the_divergence_teaches_both_sides_of_it() -> None:
    """The gradient goes through the clean and the perturbed logits."""
    model, batch = toy_model(), toy_batch()
    defense = TRADES(epsilon=0.4, beta=1.7, warmup=0.0)
    inner = problem(model, batch)
    delta = defense.perturb(inner, scores_at(inner), 0.4 * inner.norm, at(1.0))
    state, candidates = model.encode_user(batch.users).select(batch.rows), model.candidates(batch.items)
    clean, moved = (model.score(state, candidates, model.embed(candidates) + d) for d in (0.0, delta))
    by_hand = model.click_loss(clean, batch) + 1.7 * bernoulli_kl(clean, moved).mean()
    require_same(gradients(model, defense.training_loss(model, batch, at(1.0))), gradients(model, by_hand))


def test_the_perturbation_stays_in_the_ball_spares_padding_and_moves_predictions_more_than_chance_does() -> None:
    model, batch = toy_model(), toy_batch()
    inner = problem(model, batch)
    assert not inner.mask.all()
    clean, reach = scores_at(inner), 0.4 * inner.norm
    start = random_start(inner, reach, at(1.0))
    torch.testing.assert_close(start.flatten(1).norm(dim=1), (START * reach).expand(len(batch)))
    delta = TRADES(epsilon=0.4).perturb(inner, clean, reach, at(1.0))
    assert (delta.flatten(1).norm(dim=1) <= reach * (1 + 1e-5)).all()
    assert (delta[~inner.mask] == 0).all()
    found, chance = (bernoulli_kl(clean, scores_at(inner, d)) for d in (delta, l2_unit(start) * reach))
    assert (found > chance).float().mean() > 0.95
    assert found.mean() > 3 * chance.mean()


def test_labels_have_no_part_in_the_perturbation() -> None:
    model, batch = toy_model(), toy_batch()
    first, second = (problem(model, b) for b in (batch, replace(batch, labels=1 - batch.labels)))
    reach = 0.4 * first.norm
    deltas = [TRADES().perturb(inner, scores_at(inner), reach, at(1.0)) for inner in (first, second)]
    assert torch.equal(*deltas)


def test_a_start_is_drawn_for_each_example_and_step_alone() -> None:
    model, batch = toy_model(), toy_batch()
    reach = torch.tensor(1.0)
    whole = random_start(problem(model, batch), reach, at(1.0, step=3))
    index = torch.arange(len(batch)).flip(0)
    turned = random_start(problem(model, batch.select(index)), reach, at(1.0, step=3))
    torch.testing.assert_close(turned, whole[index])
    assert not torch.equal(whole, random_start(problem(model, batch), reach, at(1.0, step=4)))
