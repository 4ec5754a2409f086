from __future__ import annotations

import pytest
import torch
from toy_recommender import (
    ToyRecommender,
    embedding_threat,
    headline_threat,
    history_threat,
    make_twin,
    make_victim,
    near_stuffing_threat,
    stuffing_threat,
)

from recgauntlet.attacks import suite
from recgauntlet.attacks.embedding.pgd import FGM, PGD
from recgauntlet.attacks.suite import SUITE_ID, attacks_for, suite_ref, transfer_for
from recgauntlet.attacks.transfer import Transfer
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import Threat
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge

THREATS = (embedding_threat(), stuffing_threat(), near_stuffing_threat(), headline_threat(), history_threat())


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.id)
def test_every_threat_has_a_random_yardstick_last_and_searching_attacks_before(threat: Threat) -> None:
    attacks = [a for a in attacks_for(threat) if a.supports(Budget.of(threat, "standard"))]
    assert [attack.is_random for attack in attacks] == [False] * (len(attacks) - 1) + [True]
    assert len(attacks) >= 3
    assert all(attack.surface == threat.surface for attack in attacks)
    names = [attack.name for attack in attacks]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.id)
def test_transfer_does_not_stop_where_the_twin_falls(
    threat: Threat, model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    transfer = transfer_for(threat, make_twin(model, world, batch))
    assert isinstance(transfer, Transfer)
    assert transfer.surface == threat.surface
    stops = [value for name, value in transfer.hyperparameters().items() if name.endswith("stop_when_fallen")]
    assert stops == [False] * len(transfer.attacks)
    assert transfer.supports(Budget.of(threat, "standard"))


def test_character_attacks_need_a_budget_of_characters() -> None:
    def names(threat: Threat) -> list[str]:
        return [a.name for a in attacks_for(threat) if a.supports(Budget.of(threat, "standard"))]

    assert "character-swap" in names(headline_threat())
    assert "character-swap" not in names(stuffing_threat())


def test_the_fingerprint_names_the_suite_and_moves_with_any_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    first = suite_ref()
    assert first.id == SUITE_ID
    assert first == suite_ref()
    monkeypatch.setattr("recgauntlet.core.protocol.SUBSET", 99)
    assert suite_ref().fingerprint != first.fingerprint
    monkeypatch.undo()
    monkeypatch.setattr(suite, "suite_attacks", lambda: (FGM(), PGD(steps=21)))
    assert suite_ref().fingerprint != first.fingerprint


def test_an_attack_of_the_wrong_surface_is_refused(
    model: ToyRecommender, world: AttackerKnowledge, batch: Batch
) -> None:
    from recgauntlet.core.rng import Randomness

    victim = make_victim(model, world, batch)
    for attacked in THREATS:
        for threat in THREATS:
            if threat.surface != attacked.surface:
                attack = attacks_for(attacked)[0]
                with pytest.raises(TypeError, match="cannot work inside the threat"):
                    attack.perturb(victim, batch, Budget.of(threat, "low"), Randomness(0, "test"))
    assert torch.equal(victim.remaining(batch.example_ids), torch.full((len(batch),), 2**31))
