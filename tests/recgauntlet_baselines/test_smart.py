from __future__ import annotations

import copy

import pytest
import torch
from toy_problem import at, gradients, problem, require_same, scores_at, toy_batch, toy_model
from toy_recommender import ToyRecommender

from recgauntlet.core.rng import Randomness
from recgauntlet.training.defense import model_scores
from recgauntlet.training.trainer import AdamWTrainer
from recgauntlet_baselines.defenses._consistency import symmetric_kl
from recgauntlet_baselines.defenses.smart import SMART, served_with

BATCH = toy_batch()


def trainer_of(model: ToyRecommender) -> AdamWTrainer:
    return AdamWTrainer(model, 12, Randomness(0, "test"), "fp32")


def test_the_loss_is_clean_plus_smoothness_plus_the_distance_to_the_teacher() -> None:
    model = toy_model()
    defense = SMART(epsilon=0.4, lam=1.3, mu=0.7, momentum=0.9, warmup=0.0)
    trainer = trainer_of(model)
    average = copy.deepcopy(model)
    for _ in range(4):
        trainer.advance(defense, BATCH)
        for slow, fast in zip(average.parameters(), model.parameters(), strict=True):
            slow.data = 0.9 * slow.data + 0.1 * fast.detach()
    with torch.no_grad():
        taught = model_scores(average.eval(), BATCH)
    inner = problem(model, BATCH)
    clean = scores_at(inner)
    delta = defense.perturb(inner, clean, 0.4 * inner.norm, at(1.0, 4))
    state, candidates = model.encode_user(BATCH.users).select(BATCH.rows), model.candidates(BATCH.items)
    now, moved = (model.score(state, candidates, model.embed(candidates) + d) for d in (0.0, delta))
    by_hand = model.click_loss(now, BATCH) + 1.3 * symmetric_kl(now, moved).mean()
    distance = symmetric_kl(now, taught).mean()
    by_hand = by_hand + 0.7 * distance
    loss = defense.training_loss(model, BATCH, at(1.0, 4))
    assert float(loss.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-5)
    require_same(gradients(model, loss), gradients(model, by_hand), rtol=1e-3)
    assert distance > 1e-3, "the teacher has fallen behind"


def test_the_teacher_starts_as_the_model_and_anew_in_a_second_training() -> None:
    first, defense = toy_model(), SMART(mu=2.0, warmup=0.0)
    weights = []
    for _ in range(2):
        model = copy.deepcopy(first)
        trainer = trainer_of(model)
        for _ in range(3):
            trainer.advance(defense, BATCH)
        weights.append(torch.cat([value.detach().flatten() for value in model.parameters()]))
    assert torch.equal(*weights)


def test_the_proximal_term_slows_weights_down() -> None:
    moved = []
    for mu in (0.0, 100.0):
        model = toy_model()
        before = scores_at(problem(model, BATCH))
        trainer, defense = trainer_of(model), SMART(epsilon=0.0, mu=mu)
        for _ in range(6):
            trainer.advance(defense, BATCH)
        moved.append(float((scores_at(problem(model, BATCH)) - before).abs().mean()))
    assert moved[1] < 0.5 * moved[0]


def test_a_teacher_scores_without_dropout_and_leaves_the_model_and_its_graphs_as_they_were() -> None:
    model = toy_model(dropout=0.5)
    weights = {name: torch.full_like(value, 0.1) for name, value in model.named_parameters()}
    other = copy.deepcopy(model)
    other.load_state_dict(weights)
    torch.manual_seed(2)
    loss = model.click_loss(model_scores(model, BATCH), BATCH)
    before = torch.get_rng_state()
    with served_with(model, weights), torch.no_grad():
        taught = model_scores(model, BATCH)
        assert torch.equal(taught, model_scores(other.eval(), BATCH))
    assert torch.equal(before, torch.get_rng_state())
    assert model.training
    found = gradients(model, loss)
    torch.manual_seed(2)
    require_same(found, gradients(model, model.click_loss(model_scores(model, BATCH), BATCH)), rtol=0)


def test_weights_come_back_when_scoring_fails() -> None:
    model = toy_model()
    before = model.out.weight.detach().clone()
    weights = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    with pytest.raises(ValueError, match="broken"), served_with(model, weights):
        raise ValueError("broken")
    assert torch.equal(model.out.weight, before)
