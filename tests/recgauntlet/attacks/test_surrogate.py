from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from toy_recommender import (
    ToyRecommender,
    embedding_threat,
    headline_threat,
    history_threat,
    make_victim,
    stuffing_threat,
)

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.suite import attacks_on_twin, transfer_for
from recgauntlet.attacks.surrogate import SurrogateInputs
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import Threat
from recgauntlet.core.rng import Randomness
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.verifier import verify
from recgauntlet.threats.victim import Victim

THREATS = (embedding_threat(), headline_threat(), stuffing_threat(), history_threat())


class Refuses(Attack):
    """Stands for attacks that must not run again."""

    def __init__(self, like: Attack) -> None:
        self.like = like
        self.name = like.name  # type: ignore[misc]
        self.surface = like.surface  # type: ignore[misc]

    def hyperparameters(self) -> dict[str, str | int | float | bool | None]:
        return self.like.hyperparameters()

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        raise AssertionError("searched again")


def inputs(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch, directory: Path, *identity: str
) -> SurrogateInputs:
    return SurrogateInputs(make_victim(model, world, batch), identity, Randomness(0, "twin"), directory)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.id)
def test_what_was_found_is_kept_and_read_back_the_same(
    threat: Threat, model: ToyRecommender, world: AttackerKnowledge, batch: Batch, tmp_path: Path
) -> None:
    budget, attacks = Budget.of(threat, "standard"), attacks_on_twin(threat)
    first, effort = inputs(model, world, batch, tmp_path, "w").found(attacks, budget)
    again, booked = inputs(model, world, batch, tmp_path, "w").found([Refuses(a) for a in attacks], budget)
    assert booked == effort
    assert effort.queries > 0
    assert [variant.attack for variant in again] == [variant.attack for variant in first]
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one.tried, other.tried)
        assert one.perturbed.texts == other.perturbed.texts
        assert torch.equal(one.perturbed.histories(), other.perturbed.histories())
        if one.perturbed.delta is not None:
            assert other.perturbed.delta is not None
            assert torch.equal(one.perturbed.delta, other.perturbed.delta)


def test_other_weights_another_tier_and_a_broken_file_are_searched_anew(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch, tmp_path: Path
) -> None:
    threat = history_threat()
    attacks, refusing = attacks_on_twin(threat), [Refuses(a) for a in attacks_on_twin(threat)]
    inputs(model, world, batch, tmp_path, "w").found(attacks, Budget.of(threat, "low"))
    for identity, tier in (("other", "low"), ("w", "standard")):
        with pytest.raises(AssertionError, match="searched again"):
            inputs(model, world, batch, tmp_path, identity).found(refusing, Budget.of(threat, tier))  # type: ignore[arg-type]
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(AssertionError, match="searched again"):
        inputs(model, world, batch, tmp_path, "w").found(refusing, Budget.of(threat, "low"))


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.id)
def test_a_later_attack_gets_only_what_the_twin_still_has_right(
    threat: Threat, model: ToyRecommender, world: AttackerKnowledge, batch: Batch, tmp_path: Path
) -> None:
    found, _ = inputs(model, world, batch, tmp_path).found(attacks_on_twin(threat), Budget.of(threat, "high"))
    sign, victim = 1 - 2 * batch.labels, make_victim(model, world, batch)
    for before, after in itertools.pairwise(found):
        fooled = before.tried & (sign * victim.scores(before.perturbed) > 1e-3)
        assert not (fooled & after.tried).any()
        assert not (after.tried & ~before.tried).any()


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.id)
def test_the_replay_is_legal_for_a_part_of_the_examples_in_another_order(
    threat: Threat, model: ToyRecommender, world: AttackerKnowledge, batch: Batch, tmp_path: Path
) -> None:
    budget = Budget.of(threat, "standard")
    touched = torch.nonzero(batch.labels < 0.5).flatten() if threat.goal == "promote" else torch.arange(len(batch))
    part = batch.select(touched.flip(0)[::3])
    victim = make_victim(model, world, batch)
    victim.reset(budget.queries)
    found = transfer_for(threat, inputs(model, world, batch, tmp_path)).perturb(
        victim, part, budget, Randomness(0, "test")
    )
    assert verify(world, victim.scale, budget, part, found).legal.all()
    victim.reset(None)
    sign = 1 - 2 * part.labels
    assert (sign * victim.scores(found) > 0).sum() > (sign * victim.scores(part) > 0).sum()
