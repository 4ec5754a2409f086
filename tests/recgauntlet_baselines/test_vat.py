from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy_problem import at, gradients, problem, require_same, scores_at, toy_batch, toy_model

from recgauntlet.training.defense import model_scores
from recgauntlet_baselines.defenses._adversarial import l2_unit
from recgauntlet_baselines.defenses._consistency import bernoulli_kl
from recgauntlet_baselines.defenses.vat import VAT


@pytest.mark.parametrize("iterations", [1, 3])
def test_power_iteration_with_finite_differences_ends_at_the_direction_or_its_opposite(iterations: int) -> None:
    """Algorithm 1 of the paper, in double precision, so that the differences have digits."""
    model, batch = toy_model().double(), toy_batch()
    inner = problem(model, batch)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(inner.embedded.shape, generator=generator, dtype=torch.float64) * inner.mask.unsqueeze(-1)
    clean = scores_at(inner)
    for _ in range(iterations):
        small = 1e-5 * l2_unit(direction)
        direction = inner.gradient(small, lambda scores: bernoulli_kl(clean, scores).sum())
    found = VAT().perturb(inner, clean, inner.norm, at(1.0))
    cosine = torch.cosine_similarity(l2_unit(direction).flatten(1), found.flatten(1))
    torch.testing.assert_close(cosine.abs(), torch.ones_like(cosine), rtol=0, atol=1e-5)


def test_the_perturbation_has_the_radius_and_either_sign_as_often() -> None:
    model, batch = toy_model(), toy_batch()
    inner = problem(model, batch)
    assert not inner.mask.all()
    signs = []
    for step in range(20):
        found = VAT().perturb(inner, scores_at(inner), 0.3 * inner.norm, at(1.0, step))
        torch.testing.assert_close(found.flatten(1).norm(dim=1), (0.3 * inner.norm).expand(len(batch)))
        assert (found[~inner.mask] == 0).all()
        signs.append((scores_at(inner, found * 0.01) > scores_at(inner)).float())
    up = torch.stack(signs)
    assert 0.44 < float(up.mean()) < 0.56
    assert ((up.mean(dim=0) > 0) & (up.mean(dim=0) < 1)).all(), "an example gets other signs in other steps"


def test_the_loss_is_clean_plus_the_divergence_whose_first_side_is_held_fixed() -> None:
    model, batch = toy_model(), toy_batch()
    defense = VAT(epsilon=0.4, lam=1.7, warmup=0.0)
    inner = problem(model, batch)
    clean = scores_at(inner)
    delta = defense.perturb(inner, clean, 0.4 * inner.norm, at(1.0))
    state, candidates = model.encode_user(batch.users).select(batch.rows), model.candidates(batch.items)
    p, q = torch.sigmoid(clean), torch.sigmoid(model.score(state, candidates, model.embed(candidates) + delta))
    divergence = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    by_hand = model.click_loss(model_scores(model, batch), batch) + 1.7 * divergence
    loss = defense.training_loss(model, batch, at(1.0))
    assert float(loss.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-5)
    require_same(gradients(model, loss), gradients(model, by_hand), rtol=1e-3)
    assert divergence > 0.005


def test_labels_have_a_part_in_the_clean_loss_alone() -> None:
    model, batch = toy_model(), toy_batch()
    clean = model_scores(model, batch).detach()
    penalties = [
        float(VAT(warmup=0.0).training_loss(model, b, at(1.0)).detach() - model.click_loss(clean, b))
        for b in (batch, replace(batch, labels=1 - batch.labels))
    ]
    assert penalties[0] == pytest.approx(penalties[1], abs=1e-6)
    assert penalties[0] > 1e-3
