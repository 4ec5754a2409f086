from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_data import small_data
from torch import Tensor
from toy_problem import at, gradients, problem, require_same, scores_at, toy_batch, toy_model
from toy_recommender import ToyRecommender

from recgauntlet.core.batch import Batch
from recgauntlet.training.defense import Defense, click_loss, model_scores
from recgauntlet_baselines.defenses._adversarial import AdversarialTraining, Inner, l2_unit
from recgauntlet_baselines.defenses.fgm import FGM
from recgauntlet_baselines.defenses.fgsm import FGSM
from recgauntlet_baselines.defenses.pgd import PGD
from recgauntlet_baselines.defenses.standard import Standard

KINDS: list[type[AdversarialTraining]] = [FGSM, FGM, PGD]
EPSILON = 0.3


@pytest.fixture(scope="module")
def model() -> ToyRecommender:
    return toy_model()


@pytest.fixture(scope="module")
def batch() -> Batch:
    return toy_batch()


def loss_at(inner: Inner, delta: Tensor) -> float:
    return float(click_loss(scores_at(inner, delta), inner.batch))


@pytest.mark.parametrize("kind", KINDS)
def test_perturbation_stays_in_the_ball_and_spares_padding(
    kind: type[AdversarialTraining], model: ToyRecommender, batch: Batch
) -> None:
    inner = problem(model, batch)
    assert not inner.mask.all(), "the batch must hold padding for this test to mean anything"
    delta = kind(epsilon=EPSILON, lam=1.0, warmup=0.0).perturb(inner, EPSILON)
    assert delta.shape == inner.embedded.shape
    norms = delta.flatten(1).norm(dim=1)
    assert (norms <= EPSILON * inner.norm * (1 + 1e-5)).all()
    assert (delta[~inner.mask] == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_perturbation_raises_the_loss(kind: type[AdversarialTraining], model: ToyRecommender, batch: Batch) -> None:
    inner = problem(model, batch)
    delta = kind(epsilon=EPSILON, lam=1.0, warmup=0.0).perturb(inner, EPSILON)
    assert loss_at(inner, delta) > loss_at(inner, torch.zeros_like(delta)) + 0.01


def test_one_epsilon_is_one_size_under_all_three(model: ToyRecommender, batch: Batch) -> None:
    inner = problem(model, batch)
    reach = torch.full((len(batch),), float(EPSILON * inner.norm))
    for kind in KINDS:
        delta = kind(epsilon=EPSILON, lam=1.0, warmup=0.0).perturb(inner, EPSILON)
        torch.testing.assert_close(delta.flatten(1).norm(dim=1), reach, rtol=1e-4, atol=1e-6)


def test_fgm_follows_the_gradient_and_fgsm_its_sign(model: ToyRecommender, batch: Batch) -> None:
    inner = problem(model, batch)
    gradient = inner.gradient(torch.zeros(()))
    fgm = FGM(epsilon=EPSILON).perturb(inner, EPSILON)
    cosine = torch.cosine_similarity(fgm.flatten(1), gradient.flatten(1))
    torch.testing.assert_close(cosine, torch.ones(len(batch)), rtol=1e-4, atol=1e-4)
    fgsm = FGSM(epsilon=EPSILON).perturb(inner, EPSILON)
    assert torch.equal(fgsm.sign(), gradient.sign())
    for row in fgsm:
        sizes = row[row != 0].abs()
        assert float(sizes.max() - sizes.min()) < 1e-6


def test_pgd_finds_at_least_the_loss_of_one_step(model: ToyRecommender, batch: Batch) -> None:
    inner = problem(model, batch)
    radius = 1.0
    iterated = loss_at(inner, PGD(epsilon=radius, steps=8).perturb(inner, radius))
    one_step = loss_at(inner, FGM(epsilon=radius).perturb(inner, radius))
    assert iterated >= one_step - 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_clean_plus_lam_times_adversarial(
    kind: type[AdversarialTraining], model: ToyRecommender, batch: Batch
) -> None:
    defense = kind(epsilon=EPSILON, lam=0.7, warmup=0.0)
    inner = problem(model, batch)
    zero = torch.zeros_like(inner.embedded)
    expected = loss_at(inner, zero) + 0.7 * loss_at(inner, defense.perturb(inner, EPSILON))
    assert float(defense.training_loss(model, batch, at(0.0)).detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_radius_rises_with_the_warm_up(
    kind: type[AdversarialTraining], model: ToyRecommender, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    defense = kind(epsilon=0.4, lam=1.0, warmup=0.5)
    seen: list[float] = []
    inside = kind.perturb

    def watch(self: AdversarialTraining, inner: Inner, radius: float) -> Tensor:
        seen.append(radius)
        return inside(self, inner, radius)

    monkeypatch.setattr(kind, "perturb", watch)
    for progress in (0.0, 0.25, 0.5, 1.0):
        defense.training_loss(model, batch, at(progress))
    assert seen == pytest.approx([0.2, 0.4, 0.4])  # nothing to perturb at the very start


@pytest.mark.parametrize("kind", KINDS)
def test_inner_steps_leave_no_gradient_on_parameters(
    kind: type[AdversarialTraining], model: ToyRecommender, batch: Batch
) -> None:
    model.zero_grad(set_to_none=True)
    defense = kind(epsilon=EPSILON, lam=1.0, warmup=0.0)
    loss = defense.training_loss(model, batch, at(1.0))
    assert all(p.grad is None for p in model.parameters())
    loss.backward()
    assert all(p.grad is not None for p in model.parameters()), "both losses must reach every parameter"
    model.zero_grad(set_to_none=True)


def test_adversarial_loss_reaches_the_user_side(model: ToyRecommender, batch: Batch) -> None:
    """The user's value is reused by the inner steps, but its graph belongs to both losses."""

    def gradient(lam: float) -> Tensor:
        model.zero_grad(set_to_none=True)
        state = model.encode_user(batch.users)
        handle = state.tensors[0]
        handle.retain_grad()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model, "encode_user", lambda users: state, raising=False)
            FGM(epsilon=EPSILON, lam=lam, warmup=0.0).training_loss(model, batch, at(1.0)).backward()
        assert handle.grad is not None
        return handle.grad.clone()

    alone, both = gradient(0.0), gradient(1.0)
    model.zero_grad(set_to_none=True)
    assert not torch.allclose(alone, both, rtol=1e-2)


@pytest.mark.parametrize("kind", KINDS)
def test_the_clean_pass_gives_the_first_gradient_and_the_weights_theirs(kind: type[AdversarialTraining]) -> None:
    """As the plain sum of both losses does, with one pass more."""
    toy, batch = toy_model(), toy_batch()
    defense = kind(epsilon=EPSILON, lam=0.7, warmup=0.0)
    at_once = gradients(toy, defense.training_loss(toy, batch, at(1.0)))
    inner = problem(toy, batch)
    delta = defense.perturb(inner, EPSILON)
    state = toy.encode_user(batch.users).select(batch.rows)
    embedded = toy.embed(inner.candidates)
    clean, adversarial = (
        toy.click_loss(toy.score(state, inner.candidates, embedded + moved), batch)
        for moved in (torch.zeros(()), delta)
    )
    require_same(at_once, gradients(toy, clean + 0.7 * adversarial))


def test_examples_do_not_share_a_ball(model: ToyRecommender, batch: Batch) -> None:
    """The direction of one example depends on no other example of the batch."""
    whole = FGM(epsilon=EPSILON).perturb(problem(model, batch), EPSILON)
    index = torch.tensor([4, 9])
    inner = problem(model, batch.select(index))
    part = l2_unit(FGM(epsilon=EPSILON).perturb(inner, EPSILON))
    width = part.shape[1]
    torch.testing.assert_close(l2_unit(whole)[index][:, :width], part, rtol=1e-3, atol=1e-4)


def test_standard_loss_is_binary_cross_entropy(model: ToyRecommender, batch: Batch) -> None:
    with torch.no_grad():
        scores, loss = model_scores(model, batch), Standard().training_loss(model, batch, at(0.5))
    chance = torch.sigmoid(scores.double())
    by_hand = -(batch.labels * chance.log() + (1 - batch.labels) * (1 - chance).log()).mean()
    assert float(loss) == pytest.approx(float(by_hand), rel=1e-5)


def test_a_defense_keeps_pairs_and_model_unless_it_says_otherwise(model: ToyRecommender) -> None:
    pairs = small_data().train
    assert Defense().filter(pairs) is pairs
    assert Defense().wrap(model) is model
    assert Standard().ready(replace(at(0.0), step=0))
