from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toy_problem import at, gradients, problem, require_same, toy_batch, toy_model

from recgauntlet.testing.tiny import tiny_data, whole
from recgauntlet.testing.tiny_models import TinyItems, trainer_at
from recgauntlet_baselines.defenses.freelb import FreeLB, uniform_start


def by_hand(defense: FreeLB, dropout: float = 0.0) -> tuple[float, dict[str, Tensor]]:
    """Algorithm 1 of the paper, the gradients of the K losses added up one by one."""
    model, batch = toy_model(dropout), toy_batch()
    inner = problem(model, batch)
    reach = defense.epsilon * inner.norm
    delta = uniform_start(inner, at(1.0)) * reach
    torch.manual_seed(3)
    state, candidates = model.encode_user(batch.users).select(batch.rows), model.candidates(batch.items)
    embedded = model.embed(candidates)
    total: dict[str, Tensor] = {}
    losses = []
    for _ in range(defense.steps):
        delta.requires_grad_(True)
        loss = model.click_loss(model.score(state, candidates, embedded + delta), batch)
        losses.append(float(loss.detach()))
        *found, raised = torch.autograd.grad(loss, [*model.parameters(), delta], retain_graph=True)
        for (name, _), gradient in zip(model.named_parameters(), found, strict=True):
            total[name] = total.get(name, torch.zeros_like(gradient)) + gradient / defense.steps
        step = raised * inner.mask.unsqueeze(-1)
        step = step / step.flatten(1).norm(dim=1)[:, None, None]
        delta = (delta + defense.step_size * reach * step).detach()
        norm = delta.flatten(1).norm(dim=1)[:, None, None]
        delta = torch.where(norm > reach, delta * reach / norm, delta)
    return sum(losses) / len(losses), total


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradients_are_the_mean_over_the_steps_of_the_ascent(steps: int, dropout: float) -> None:
    defense = FreeLB(epsilon=0.5, steps=steps, warmup=0.0)
    expected, total = by_hand(defense, dropout)
    model, batch = toy_model(dropout), toy_batch()
    torch.manual_seed(3)
    loss = defense.training_loss(model, batch, at(1.0))
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-5)
    require_same(gradients(model, loss), total)


def test_the_start_is_uniform_in_the_ball() -> None:
    inner = problem(toy_model(), toy_batch())
    assert not inner.mask.all()
    start = uniform_start(inner, at(1.0))
    elements = inner.mask.sum(dim=1) * inner.embedded.shape[2]
    scaled = (start * elements.sqrt()[:, None, None])[inner.mask]
    assert scaled.abs().max() <= 1
    assert float(scaled.abs().mean()) == pytest.approx(0.5, abs=0.02)
    assert float(scaled.pow(2).mean()) == pytest.approx(1 / 3, abs=0.02)
    assert (start.flatten(1).norm(dim=1) <= 1).all()
    assert (start[~inner.mask] == 0).all()


def test_a_scaled_loss_has_scaled_gradients() -> None:
    """The gradients are known before the backward pass, which others may weigh."""
    model, batch = toy_model(), toy_batch()
    once = gradients(model, FreeLB(warmup=0.0).training_loss(model, batch, at(1.0)))
    thrice = gradients(model, 3 * FreeLB(warmup=0.0).training_loss(model, batch, at(1.0)))
    require_same(thrice, {name: 3 * value for name, value in once.items()})


def test_frozen_weights_stay_and_the_rest_learns() -> None:
    data = tiny_data()
    model = TinyItems(data.catalog, token_length=10).train()
    model.offset.requires_grad_(False)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    trainer_at(model, 0.75).advance(FreeLB(), whole(data.train))
    assert torch.equal(before["offset"], model.offset)
    assert not torch.equal(before["items.weight"], model.items.weight)
