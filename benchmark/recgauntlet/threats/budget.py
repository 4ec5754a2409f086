"""The budget of an attack: a threat at one tier."""

from __future__ import annotations

from dataclasses import dataclass

from recgauntlet.core.card import EmbeddingThreat, HistoryThreat, TextThreat, Tier


@dataclass(frozen=True)
class Budget:
    """A threat at one tier: what `Attack.perturb` may change, and how often it may ask.

    `amount` is the radius (embedding; relative to the victim's `scale`), the words (candidate-text) or the
    edits (history). `characters` is the cap on character edits, 0 where the threat allows none.
    """

    threat: EmbeddingThreat | TextThreat | HistoryThreat
    tier: Tier
    amount: float
    characters: int
    queries: int

    @classmethod
    def of(cls, threat: EmbeddingThreat | TextThreat | HistoryThreat, tier: Tier) -> Budget:
        """The budget of `threat` at `tier`."""
        if isinstance(threat, EmbeddingThreat):
            amount = threat.radius.at(tier)
        elif isinstance(threat, TextThreat):
            amount = threat.words.at(tier)
        else:
            amount = threat.edits.at(tier)
        characters = threat.characters if isinstance(threat, TextThreat) else None
        return cls(threat, tier, amount, int(characters.at(tier)) if characters else 0, int(threat.queries.at(tier)))
