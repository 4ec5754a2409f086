"""Threat models: every surface has one, a budget of another surface is refused, and the wording needs no torch."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from recgauntlet.core.card import EmbeddingThreat, TextThreat, Tier
from recgauntlet.core.types import Surface
from recgauntlet.testing.tiny import tiny_threats
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.registry import THREAT_MODELS, threat_model

THREATS = tiny_threats()


def test_every_surface_has_a_threat_model() -> None:
    assert set(THREAT_MODELS) == set(get_args(Surface))
    assert all(threat_model(threat).card is threat for threat in THREATS)


@pytest.mark.parametrize("threat", THREATS, ids=lambda threat: threat.id)
def test_only_a_budget_of_its_surface_is_taken(threat: EmbeddingThreat | TextThreat) -> None:
    for surface, kind in THREAT_MODELS.items():
        if surface == threat.surface:
            assert kind.of(Budget.of(threat, "low")).card is threat
        else:
            with pytest.raises(TypeError, match="cannot work inside the threat"):
                kind.of(Budget.of(threat, "low"))


@pytest.mark.parametrize("tier", ["low", "standard", "high"])
def test_a_budget_holds_the_cards_caps(tier: Tier) -> None:
    for threat in THREATS:
        budget = Budget.of(threat, tier)
        caps = threat.characters if isinstance(threat, TextThreat) else None
        assert budget.amount == threat.amounts.at(tier)
        assert budget.characters == (0 if caps is None else int(caps.at(tier)))


def test_budgets_and_limits_are_worded() -> None:
    text, history, ball = (THREAT_MODELS[s] for s in ("candidate-text", "history", "embedding"))
    assert text.budget_text((1, 2, 4), (0, 0, 0)) == "1 / 2 / 4 words"
    assert text.budget_text((1, 2, 4), (2, 4, 8)) == "1 / 2 / 4 words, or 2 / 4 / 8 characters"
    assert text.amount_text(2, 4) == "2 words or 4 characters"
    assert text.amount_text(0, 4) == "4 characters"
    assert history.amount_text(3) == "3 items"
    assert ball.amount_text(0.5) == "0.5"
    assert "(L2)" not in ball.budget_text((0.1, 0.2, 0.4))
    for threat in THREATS:
        assert bool(threat_model(threat).limits()) == threat_model(threat).is_discrete


def test_the_wording_needs_no_torch() -> None:
    code = "import sys, recgauntlet.threats.registry; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
