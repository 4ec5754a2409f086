from __future__ import annotations

import pytest
import torch
from toy_recommender import Run, ToyRecommender, embedding_threat, make_victim

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.embedding.apgd import APGD, checkpoints
from recgauntlet.attacks.embedding.ddn import DDN
from recgauntlet.attacks.embedding.pgd import FGM, PGD, RandomEmbedding
from recgauntlet.attacks.embedding.smoothed import SmoothedPGD
from recgauntlet.attacks.embedding.square import Square
from recgauntlet.core.batch import Batch
from recgauntlet.core.rng import Randomness
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge

NORMS = ("l2", "linf")
SEARCHES: tuple[Attack, ...] = (
    APGD(),
    APGD(loss="ce", start="random", steps=25, name="apgd-ce"),
    APGD(loss="rank", start="random", steps=25, name="apgd-rank"),
    APGD(restarts=1, name="apgd-restarts"),
    DDN(),
    Square(),
)


def named(attack: Attack) -> str:
    return attack.name


def fallen(damage: torch.Tensor) -> int:
    return int((damage > 0).sum())


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", [a for a in SEARCHES if a.uses_gradients], ids=named)
def test_gradient_searches_find_what_pgd_finds(attack: Attack, norm: str, run: Run) -> None:
    for tier in ("low", "standard", "high"):
        budget = Budget.of(embedding_threat(norm, queries=200), tier)  # type: ignore[arg-type]
        # DDN walks along the boundary: it finds other points, on a ball of corners a few less
        fewer = 4 if attack.name == "ddn" and norm == "linf" else 1
        assert fallen(run(attack, budget)[1]) >= fallen(run(PGD(restarts=0), budget)[1]) - fewer
        assert fallen(run(attack, budget)[1]) >= fallen(run(FGM(), budget)[1])


@pytest.mark.parametrize("norm", NORMS)
def test_the_black_box_search_beats_random_points_without_gradients(
    norm: str, model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    class Blind(ToyRecommender):
        def score(self, user, candidates, embeddings=None):  # type: ignore[no-untyped-def]
            return super().score(user, candidates, None if embeddings is None else embeddings.detach())

    blind = Blind(world.catalog)
    blind.load_state_dict(model.state_dict())
    target = make_victim(blind.eval(), world, batch)
    budget = Budget.of(embedding_threat(norm, queries=200), "high")
    broken = {}
    for attack in (Square(), RandomEmbedding(), PGD(restarts=0)):
        found = attack.perturb(target, batch, budget, Randomness(0, "test"))
        broken[attack.name] = fallen((1 - 2 * batch.labels) * target.scores(found))
    assert broken["square"] > max(broken["random"], broken["pgd"])


def test_a_smoothed_copy_shows_the_way_where_the_gradient_is_zero(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    class Stepped(ToyRecommender):
        """Embeddings stay on the step of their token's own, with steep edges between the steps."""

        def score(self, user, candidates, embeddings=None):  # type: ignore[no-untyped-def]
            own = self.embed(candidates)
            place = torch.zeros_like(own) if embeddings is None else (embeddings - own) / 0.1
            edge = torch.sigmoid(400 * (place - place.floor() - 0.5))
            return super().score(user, candidates, own + 0.1 * (place.floor() + edge))

    stepped = Stepped(world.catalog)
    stepped.load_state_dict(model.state_dict())
    target = make_victim(stepped.eval(), world, batch)
    budget = Budget.of(embedding_threat(queries=200), "standard")
    broken = {}
    for attack in (PGD(restarts=0), APGD(), SmoothedPGD()):
        found = attack.perturb(target, batch, budget, Randomness(0, "test"))
        broken[attack.name] = fallen((1 - 2 * batch.labels) * target.scores(found))
    assert broken["pgd"] == broken["apgd"]
    assert broken["pgd-smoothed"] > broken["apgd"]


def test_the_smoothed_search_runs_at_its_tier_alone_and_within_its_queries(run: Run) -> None:
    threat = embedding_threat(queries=50)
    tiers = ("low", "standard", "high")
    assert [SmoothedPGD(tier="standard").supports(Budget.of(threat, tier)) for tier in tiers] == [False, True, False]
    run(SmoothedPGD(stop_when_fallen=False), Budget.of(threat, "standard"))


@pytest.mark.parametrize("attack", [APGD(stop_when_fallen=False), DDN(stop_when_fallen=False)], ids=named)
def test_without_stopping_the_damage_is_larger(attack: Attack, run: Run) -> None:
    budget = Budget.of(embedding_threat(queries=200), "high")
    stopped = type(attack)(**{**attack.hyperparameters(), "stop_when_fallen": True})
    assert run(attack, budget)[1].mean() > run(stopped, budget)[1].mean()


def test_in_exact_arithmetic_the_losses_of_one_logit_take_the_same_steps(run: Run) -> None:
    budget = Budget.of(embedding_threat(queries=200), "standard")
    by_loss = [
        run(APGD(loss=loss, steps=10, stop_when_fallen=False), budget)[1]  # type: ignore[arg-type]
        for loss in ("margin", "ce", "rank")
    ]
    assert torch.allclose(by_loss[0], by_loss[1], atol=1e-3)
    assert torch.allclose(by_loss[0], by_loss[2], atol=1e-3)


def test_the_cross_entropy_stands_still_where_logits_are_huge_and_the_margin_does_not(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    class Loud(ToyRecommender):
        def score(self, user, candidates, embeddings=None):  # type: ignore[no-untyped-def]
            return 1e4 * super().score(user, candidates, embeddings)

    loud = Loud(world.catalog)
    loud.load_state_dict(model.state_dict())
    target = make_victim(loud.eval(), world, batch)
    budget = Budget.of(embedding_threat(queries=200), "standard")
    broken = {}
    for loss in ("margin", "ce"):
        found = APGD(loss=loss).perturb(target, batch, budget, Randomness(0, "test"))  # type: ignore[arg-type]
        broken[loss] = fallen((1 - 2 * batch.labels) * target.scores(found))
    assert broken["margin"] > broken["ce"]


def test_checkpoints_come_ever_closer() -> None:
    found = checkpoints(100)
    assert list(found)[:4] == [22, 41, 57, 70]
    gaps = [place - before for place, before in found.items()]
    assert gaps == sorted(gaps, reverse=True)
    assert min(gaps) >= 6
    assert checkpoints(1) == {1: 0}
