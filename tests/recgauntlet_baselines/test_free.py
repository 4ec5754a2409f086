from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toy_problem import toy_batch, toy_model
from toy_recommender import ToyRecommender

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import embedding_mask
from recgauntlet.core.rng import Randomness
from recgauntlet.training.cost import count_passes
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet.training.trainer import AdamWTrainer
from recgauntlet_baselines.defenses.free import FreeAT

BATCHES = [toy_batch(seed=seed) for seed in range(7)]


def train(defense: Defense, batches: list[Batch], progress: float = 1.0) -> tuple[ToyRecommender, list[float]]:
    """The model after a step a batch, and the losses; progress stands still."""
    model = toy_model().double()  # AdamW makes a step of every rounding error
    trainer = AdamWTrainer(model, len(batches), Randomness(0, "test"), "fp32")
    losses = []
    for step, batch in enumerate(batches):
        trainer.context = TrainingContext(step, progress, trainer.context.rng)
        losses.append(trainer.advance(defense, batch))
    return model, losses


def by_hand(epsilon: float, held: list[tuple[int, bool]]) -> tuple[ToyRecommender, list[float]]:
    """Algorithm 1 of the paper: `held` says which batch each step is on, and whether it is new."""
    model = toy_model().double()  # AdamW makes a step of every rounding error
    trainer = AdamWTrainer(model, len(held), Randomness(0, "test"), "fp32")
    losses = []
    delta = torch.zeros(())
    for number, new in held:
        batch = BATCHES[number]
        candidates = model.candidates(batch.items)
        state, embedded = model.encode_user(batch.users).select(batch.rows), model.embed(candidates)
        mask = embedding_mask(candidates, embedded)
        reach = epsilon * float(embedded.detach()[mask].norm(dim=1).mean())
        delta = (torch.zeros_like(embedded) if new else delta).detach().requires_grad_(True)
        loss = model.click_loss(model.score(state, candidates, embedded + delta), batch)
        trainer.minimize(loss)
        trainer.schedule.step()
        losses.append(float(loss.detach()))
        assert delta.grad is not None
        step = delta.grad * mask.unsqueeze(-1)
        delta = delta.detach() + reach * step / step.flatten(1).norm(dim=1)[:, None, None]
        norm = delta.flatten(1).norm(dim=1)[:, None, None]
        delta = torch.where(norm > reach, delta * reach / norm, delta)
    return model, losses


def require_same_weights(first: ToyRecommender, second: ToyRecommender) -> None:
    for (name, value), other in zip(first.named_parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(value, other, rtol=1e-6, atol=1e-9, msg=name)


def test_a_batch_is_replayed_with_the_perturbation_of_the_last_backward_pass_and_those_between_are_left_out() -> None:
    model, losses = train(FreeAT(epsilon=0.5, replays=3, warmup=0.0), BATCHES)
    expected, told = by_hand(0.5, [(0, True), (0, False), (0, False), (3, True), (3, False), (3, False), (6, True)])
    assert losses == pytest.approx(told, rel=1e-6)
    require_same_weights(model, expected)
    assert losses[1] > losses[0], "the first replay is worse than the clean pass"


def test_one_replay_is_plain_training() -> None:
    model, losses = train(FreeAT(epsilon=0.5, replays=1), BATCHES)
    plain, told = train(Defense(), BATCHES)
    assert losses == told
    require_same_weights(model, plain)


def test_without_radius_it_is_plain_training_on_the_held_batches() -> None:
    plain, _ = train(Defense(), [BATCHES[0], BATCHES[0], BATCHES[2], BATCHES[2]])
    for defense, progress in ((FreeAT(epsilon=0.0, replays=2), 1.0), (FreeAT(epsilon=0.5, replays=2), 0.0)):
        require_same_weights(train(defense, BATCHES[:4], progress)[0], plain)


def test_a_second_training_starts_anew() -> None:
    defense = FreeAT(epsilon=0.5, replays=4, warmup=0.0)
    first = train(defense, BATCHES[:3])[1]
    assert train(defense, BATCHES[:3])[1] == first


def test_a_step_costs_what_a_step_of_plain_training_costs() -> None:
    seen = []
    for defense in (FreeAT(epsilon=0.5, replays=3), Defense()):
        model = toy_model()
        trainer = AdamWTrainer(model, 9, Randomness(0, "test"), "fp32")
        with count_passes(model) as passes:
            for batch in BATCHES[:6]:
                trainer.advance(defense, batch)
        seen.append((passes.forwards, passes.backwards))
    assert seen[0] == seen[1] == (6 * len(BATCHES[0]),) * 2


def test_padding_is_not_moved() -> None:
    defense = FreeAT(epsilon=0.5, replays=9, warmup=0.0)
    seen: list[Tensor] = []
    model, batch = toy_model(), BATCHES[0]
    trainer = AdamWTrainer(model, 4, Randomness(0, "test"), "fp32")
    inside = model.score

    def watch(user, candidates, embeddings=None):  # type: ignore[no-untyped-def]
        seen.append((embeddings - model.embed(candidates)).detach())
        return inside(user, candidates, embeddings)

    model.score = watch  # type: ignore[method-assign]
    for _ in range(3):
        trainer.advance(defense, batch)
    mask = model.candidates(batch.items).tokens.mask
    assert not mask.all()
    assert all((moved[~mask] == 0).all() for moved in seen)
    assert seen[0].abs().max() == 0
    assert seen[1].abs().max() > 0.01
