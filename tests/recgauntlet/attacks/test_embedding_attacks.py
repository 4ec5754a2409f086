from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy_recommender import Run, ToyRecommender, embedding_threat, make_twin, make_victim, train

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.embedding.ball import project_to_ball, to_border
from recgauntlet.attacks.embedding.pgd import FGM, FGSM, PGD, RandomEmbedding
from recgauntlet.attacks.transfer import Transfer
from recgauntlet.core.batch import Batch
from recgauntlet.core.rng import Randomness
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.verifier import verify
from recgauntlet.threats.victim import Victim

ALL = (RandomEmbedding, FGM, FGSM, PGD)
NORMS = ("l2", "linf")


def broken(damage: torch.Tensor) -> int:
    return int((damage > 0).sum())


def test_the_toy_model_has_something_to_lose(victim: Victim, batch: Batch) -> None:
    accuracy = ((victim.scores(batch) > 0) == (batch.labels > 0)).float().mean()
    assert accuracy > 0.85


@pytest.mark.parametrize("norm", NORMS)
def test_stronger_attacks_do_more_damage_at_equal_budget(run: Run, norm: str) -> None:
    budget = Budget.of(embedding_threat(norm), "standard")
    found = {kind.name: run(kind(), budget)[1] for kind in (RandomEmbedding, FGM, FGSM)}
    found["pgd"] = run(PGD(stop_when_fallen=False), budget)[1]
    assert found["pgd"].mean() > max(found["fgm"].mean(), found["fgsm"].mean())
    assert min(found["fgm"].mean(), found["fgsm"].mean()) > found["random"].mean()
    assert broken(found["pgd"]) >= max(broken(found["fgm"]), broken(found["fgsm"]))
    assert broken(found["pgd"]) > broken(found["random"])
    # PGD's first iterates include no worse point than what one step reaches, for nearly every example.
    assert (found["pgd"] >= torch.maximum(found["fgm"], found["fgsm"]) - 1e-3).float().mean() > 0.95


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", ALL)
def test_deltas_stay_in_the_ball_and_off_the_padding(
    run: Run, victim: Victim, batch: Batch, world: AttackerKnowledge, kind: type[Attack], norm: str
) -> None:
    for tier in ("low", "standard", "high"):
        budget = Budget.of(embedding_threat(norm), tier)
        found, _ = run(kind(), budget)
        verdict = verify(world, victim.scale, budget, batch, found)
        assert verdict.legal.all(), verdict.reasons
        assert found.delta is not None
        mask, _ = victim.embedding_layout(batch)
        assert not mask.all(), "the test needs padding"
        assert (found.delta[~mask] == 0).all()


@pytest.mark.parametrize("norm", NORMS)
def test_one_step_attacks_use_the_whole_radius(run: Run, victim: Victim, norm: str) -> None:
    budget = Budget.of(embedding_threat(norm), "standard")
    for kind in (FGM, FGSM):
        delta = run(kind(), budget)[0].delta
        assert delta is not None
        size = delta.flatten(1).norm(dim=1) if norm == "l2" else delta.abs().flatten(1).amax(dim=1)
        unit = victim.scale.norm if norm == "l2" else victim.scale.rms
        assert torch.allclose(size, torch.full_like(size, 0.25 * unit), rtol=1e-3)


def test_the_random_attack_is_the_best_of_its_points(run: Run) -> None:
    budget = Budget.of(embedding_threat(), "standard")
    one, ten = (run(RandomEmbedding(points=points), budget)[1] for points in (1, 10))
    assert ten.mean() > one.mean()


def test_pgd_stops_asking_about_fallen_examples(victim: Victim, batch: Batch) -> None:
    budget = replace(Budget.of(embedding_threat(), "high"), amount=1.5)
    asked = []
    for stop in (True, False):
        victim.reset(budget.queries)
        PGD(stop_when_fallen=stop).perturb(victim, batch, budget, Randomness(0, "test"))
        asked.append(victim.effort.forwards)
    assert asked[0] < asked[1] / 2


@pytest.mark.parametrize("gain", [1e-6, 1e3])
def test_scaled_logits_do_not_mask_the_gradient(world: AttackerKnowledge, batch: Batch, gain: float) -> None:
    budget = Budget.of(embedding_threat(), "standard")
    found = []
    for factor in (1.0, gain):
        torch.manual_seed(0)
        model = train(ToyRecommender(world.catalog))
        model.gain = factor
        scaled = make_victim(model, world, batch)
        scaled.reset(budget.queries)
        delta = PGD(stop_when_fallen=False).perturb(scaled, batch, budget, Randomness(0, "test"))
        scaled.reset(None)
        found.append((1 - 2 * batch.labels) * scaled.scores(delta) > 0)
    assert int((found[0] != found[1]).sum()) <= 1


def test_transfer_finds_what_a_mask_hides(model: ToyRecommender, world: AttackerKnowledge, batch: Batch) -> None:
    class Masked(ToyRecommender):
        """The same function with its embeddings rounded: the gradient is zero almost everywhere."""

        def score(self, user, candidates, embeddings=None):  # type: ignore[no-untyped-def]
            used = self.embed(candidates) if embeddings is None else embeddings
            return super().score(user, candidates, (used.detach() / 0.01).round() * 0.01)

    masked = Masked(world.catalog)
    masked.load_state_dict(model.state_dict())
    target = make_victim(masked.eval(), world, batch)
    budget = replace(Budget.of(embedding_threat(), "high"), amount=0.8)
    twin = make_twin(model, world, batch)
    direct = PGD().perturb(target, batch, budget, Randomness(0, "test"))
    transfer = Transfer([PGD(stop_when_fallen=False)], twin)
    carried = transfer.perturb(target, batch, budget, Randomness(0, "test"))
    sign = 1 - 2 * batch.labels
    assert broken(sign * target.scores(carried)) > broken(sign * target.scores(direct)) + 10


def test_transfer_rescales_the_delta_to_the_target_and_books_its_work(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    budget = Budget.of(embedding_threat(), "standard")
    torch.manual_seed(0)
    small = ToyRecommender(world.catalog).eval()
    small.load_state_dict(model.state_dict())
    with torch.no_grad():
        small.words.weight *= 0.25
    target, twin = make_victim(small, world, batch), make_twin(model, world, batch)
    target.reset(0)
    attack = Transfer([FGM()], twin)
    found = attack.perturb(target, batch, budget, Randomness(0, "test"))
    assert verify(world, target.scale, budget, batch, found).legal.all()
    assert found.delta is not None
    largest = float(found.delta.flatten(1).norm(dim=1).max())
    assert largest == pytest.approx(budget.amount * target.scale.norm, rel=1e-3)
    assert target.effort.backwards == len(batch)
    assert attack.surface == "embedding"
    assert attack.hyperparameters() == {}
    assert Transfer([PGD(), FGM()], twin).hyperparameters()["pgd.steps"] == 20


def test_projection_keeps_points_inside_and_moves_points_outside_to_the_border() -> None:
    inside, outside = torch.full((1, 2, 2), 0.1), torch.full((1, 2, 2), 3.0)
    for norm, size in (("l2", 1.0), ("linf", 0.5)):
        assert torch.equal(project_to_ball(inside, norm, size), inside)
    assert project_to_ball(outside, "l2", 1.0).norm() == pytest.approx(1.0)
    assert project_to_ball(outside, "linf", 0.5).max() == 0.5
    assert (to_border(torch.zeros(1, 2, 2), "l2", 1.0) == 0).all()
    assert to_border(torch.full((1, 2, 2), 1e-30), "l2", 1.0).norm() == pytest.approx(1.0)
