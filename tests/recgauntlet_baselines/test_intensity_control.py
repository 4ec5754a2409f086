from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toy_problem import at, loss_of, problem, toy_batch, toy_model
from toy_recommender import ToyRecommender

from recgauntlet.core.batch import Batch
from recgauntlet.training.cost import count_passes
from recgauntlet_baselines.defenses._adversarial import Inner, l2_clip, l2_unit
from recgauntlet_baselines.defenses.intensity_control import IntensityControl, flipped_share, is_right
from recgauntlet_baselines.defenses.pgd import PGD


@pytest.fixture(scope="module")
def model() -> ToyRecommender:
    return toy_model()


@pytest.fixture(scope="module")
def batch() -> Batch:
    return toy_batch()


def strengths(defense: IntensityControl, model: ToyRecommender, batch: Batch, steps: int) -> list[float]:
    out = []
    for step in range(steps):
        defense.training_loss(model, batch, at(0.75, step=1 + step))
        out.append(defense._strength)
    return out


def test_strength_rises_while_the_model_stands_and_stops_at_the_most_steps(model: ToyRecommender, batch: Batch) -> None:
    found = strengths(IntensityControl(epsilon=1e-4, target=0.5, gain=1.0, steps=3), model, batch, 6)
    assert found == pytest.approx([1.5, 2.0, 2.5, 3.0, 3.0, 3.0])


def test_strength_falls_while_the_model_falls_and_stops_at_one_step(model: ToyRecommender, batch: Batch) -> None:
    defense = IntensityControl(epsilon=30.0, target=0.05, gain=2.0, steps=5)
    defense._strength = 3.0
    found = strengths(defense, model, batch, 3)
    assert found[0] < 3.0
    assert found[-1] == 1.0


def test_strength_steers_flips_towards_the_target(model: ToyRecommender, batch: Batch) -> None:
    """Moved by `gain * (target - share)`, the share being of the examples that were right."""
    defense = IntensityControl(epsilon=0.8, target=0.1, gain=0.5)
    sides = defense.sides(model, batch, at(0.75))
    assert sides.adversarial is not None
    share = flipped_share(sides.clean, sides.adversarial, batch)
    assert 0 < share < 1
    defense.training_loss(model, batch, at(0.75))
    assert defense._strength == pytest.approx(max(1.0, 1.0 + 0.5 * (0.1 - share)))


def test_flips_are_counted_among_the_right_ones(batch: Batch) -> None:
    part = batch.select(torch.tensor([0, 1, 2, 3]))  # labels 1, 0, 1, 0
    clean, adversarial = torch.tensor([2.0, -1.0, -1.0, -2.0]), torch.tensor([-1.0, -1.0, -3.0, -1.0])
    assert flipped_share(clean, adversarial, part) == pytest.approx(1 / 3)
    assert flipped_share(-clean.new_tensor([1.0, -1.0, 1.0, -1.0]), adversarial, part) == 0.0


def test_radius_and_weight_rise_over_the_warm_up(
    model: ToyRecommender, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def stay(self: IntensityControl, inner: Inner, radius: float) -> Tensor:
        seen.append(radius)
        return torch.zeros_like(inner.embedded)

    monkeypatch.setattr(IntensityControl, "perturb", stay)
    defense = IntensityControl(epsilon=0.4, lam=2.0, warmup=0.5)
    losses = [loss_of(defense, model, batch, progress) for progress in (0.0, 0.25, 0.5, 1.0)]
    assert seen == pytest.approx([0.2, 0.4, 0.4])
    clean = losses[0]  # nothing is moved here, so the adversarial loss is the clean one
    assert losses == pytest.approx([clean, 2 * clean, 3 * clean, 3 * clean], rel=1e-5)


def test_wrong_examples_are_left_alone_and_fallen_ones_are_not_pushed_further(
    model: ToyRecommender, batch: Batch
) -> None:
    inner = problem(model, batch)
    reach = 2.0 * inner.norm
    defense = IntensityControl(steps=4, step_size=0.25)
    defense._strength = 4.0
    delta = defense.perturb(inner, 2.0)

    def right(at_: Tensor) -> Tensor:
        return is_right(inner.look(at_)[0], batch)

    clean = right(torch.zeros_like(delta))
    assert (~clean).any(), "some must be wrong for this test to mean anything"
    assert not delta[~clean].any()
    first = l2_clip(l2_unit(inner.gradient(torch.zeros_like(delta))) * (0.25 * reach), reach)
    at_once = clean & ~right(first)
    assert at_once.any()
    torch.testing.assert_close(delta[at_once], first[at_once])


def test_while_all_stand_it_is_pgd(model: ToyRecommender, batch: Batch) -> None:
    inner = problem(model, batch)
    right = is_right(inner.look(torch.zeros(()))[0], batch)
    defense = IntensityControl(steps=3)
    defense._strength = 2.6  # three steps
    delta, expected = defense.perturb(inner, 1e-3), PGD(steps=3).perturb(inner, 1e-3)
    torch.testing.assert_close(delta[right], expected[right])


def test_control_costs_no_pass_and_a_weak_adversary_fewer(model: ToyRecommender, batch: Batch) -> None:
    forwards = []
    for strength in (1.0, 3.4):
        defense = IntensityControl(epsilon=1e-3)
        defense._strength = strength
        with count_passes(model) as passes:
            defense.training_loss(model, batch, at(0.75))
        forwards.append(passes.forwards / len(batch))
    assert forwards == [2, 4]  # adversarial, and one a step: the first is the clean one


def test_a_training_begins_anew(model: ToyRecommender, batch: Batch) -> None:
    defense = IntensityControl()
    defense._strength = 4.0
    defense.training_loss(model, batch, at(0.0, step=0))
    assert defense._strength == 1.0
