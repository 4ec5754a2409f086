from __future__ import annotations

import pytest
import torch
from toy_problem import Recording, gradients_of, problem, toy_batch, toy_model, trainer_of

from recgauntlet.training.defense import model_scores
from recgauntlet_baselines.defenses import awp
from recgauntlet_baselines.defenses._passes import encode
from recgauntlet_baselines.defenses.awp import AWP, moved_weights
from recgauntlet_baselines.defenses.pgd import PGD


def test_layers_move_by_gamma_of_their_norm_and_come_back_bit_for_bit() -> None:
    model = toy_model()
    parameters = list(model.parameters())
    before = [p.detach().clone() for p in parameters]
    directions = [torch.randn(p.shape, generator=torch.Generator().manual_seed(i)) for i, p in enumerate(parameters)]
    with moved_weights(parameters, directions, 0.02):
        for parameter, kept, direction in zip(parameters, before, directions, strict=True):
            moved = parameter.detach() - kept
            if parameter.ndim < 2:
                assert torch.equal(parameter, kept)
                continue
            assert float(moved.norm()) == pytest.approx(0.02 * float(kept.norm()), rel=1e-3)
            cosine = torch.cosine_similarity(moved.flatten(), direction.flatten(), dim=0)
            assert float(cosine) == pytest.approx(1.0, abs=1e-3)
    assert all(torch.equal(now, kept) for now, kept in zip(parameters, before, strict=True))


def test_weights_come_back_after_an_error_and_no_direction_is_no_move() -> None:
    model = toy_model()
    parameters, before = list(model.parameters()), [p.detach().clone() for p in model.parameters()]
    with pytest.raises(ValueError), moved_weights(parameters, [torch.ones_like(p) for p in parameters], 0.5):
        raise ValueError
    with moved_weights(parameters, [None, *(torch.zeros_like(p) for p in parameters[1:])], 0.5):
        assert all(torch.equal(now, kept) for now, kept in zip(parameters, before, strict=True))
    assert all(torch.equal(now, kept) for now, kept in zip(parameters, before, strict=True))


def test_the_gradient_is_that_of_both_losses_at_the_moved_weights() -> None:
    model, batch = toy_model(), toy_batch()
    defense = AWP(lam=0.7, gamma=0.1)
    delta = PGD().perturb(problem(model, batch), 0.25)
    parameters, encoded = list(model.parameters()), encode(model, batch)
    loss = encoded.loss(encoded.embedded + delta)
    directions = torch.autograd.grad(loss, parameters)
    with moved_weights(parameters, directions, 0.1):
        moved = encode(model, batch)
        clean, adversarial = moved.loss(), moved.loss(moved.embedded + delta)
        assert float(adversarial.detach()) > float(loss.detach()), "the weights move up the adversarial loss"
        expected = list(torch.autograd.grad(clean + 0.7 * adversarial, parameters))
    torch.testing.assert_close(gradients_of(defense, model, batch), expected, rtol=1e-4, atol=1e-7)


def test_gamma_zero_is_pgd() -> None:
    model, batch = toy_model(), toy_batch()
    torch.testing.assert_close(
        gradients_of(AWP(gamma=0.0), model, batch), gradients_of(PGD(), model, batch), rtol=1e-4, atol=1e-7
    )


def test_gamma_rises_over_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    inside = awp.moved_weights
    monkeypatch.setattr(awp, "moved_weights", lambda p, d, gamma: (seen.append(gamma), inside(p, d, gamma))[1])
    model, batch = toy_model(), toy_batch()
    for progress in (0.25, 0.5, 1.0):
        gradients_of(AWP(gamma=0.04, warmup=0.5), model, batch, progress)
    assert seen == pytest.approx([0.02, 0.04, 0.04])


def test_the_optimizer_starts_at_the_old_weights() -> None:
    model, batch = toy_model(), toy_batch()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    AWP(gamma=0.3).step(Recording.of(model), batch)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    AWP(gamma=0.3).step(trainer_of(model), batch)
    assert not torch.equal(model.out.weight, before["out.weight"])


def test_under_autocast_the_moved_weights_are_those_that_score() -> None:
    model, batch = toy_model(), toy_batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        before = model_scores(model, batch).detach()
        with moved_weights([model.out.weight], [torch.ones_like(model.out.weight)], 0.9):
            inside = model_scores(model, batch).detach()
        after = model_scores(model, batch).detach()
    assert not torch.allclose(inside, before, atol=0.05), "a stale copy of the weights has scored"
    assert torch.equal(after, before)
