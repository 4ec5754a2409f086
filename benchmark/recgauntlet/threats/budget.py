"""The budget of an attack: a threat at one tier."""

from __future__ import annotations

from dataclasses import dataclass

from recgauntlet.core.card import Threat, Tier


@dataclass(frozen=True)
class Budget:
    """A threat at one tier: what `Attack.perturb` may change, and how often it may ask.

    threat
        The threat as its card has it.
    tier
        Which of its three tiers.
    amount
        The radius (embedding; relative to the victim's `scale`), the words (candidate-text) or the edits (history).
    characters
        The cap on character edits; 0 where the threat allows none.
    queries
        Scored inputs that an attack may ask for per example.
    """

    threat: Threat
    tier: Tier
    amount: float
    characters: int
    queries: int

    @classmethod
    def of(cls, threat: Threat, tier: Tier) -> Budget:
        """The budget of `threat` at `tier`."""
        caps = threat.character_caps
        characters = 0 if caps is None else int(caps.at(tier))
        return cls(threat, tier, threat.amounts.at(tier), characters, int(threat.queries.at(tier)))
