"""From a threat's card, or its surface alone, to its threat model."""

from __future__ import annotations

from typing import Any

from recgauntlet.core.card import Threat
from recgauntlet.core.types import Surface
from recgauntlet.threats.base import ThreatModel
from recgauntlet.threats.embedding import EmbeddingThreatModel
from recgauntlet.threats.history import HistoryThreatModel
from recgauntlet.threats.text import TextThreatModel

THREAT_MODELS: dict[Surface, type[ThreatModel[Any]]] = {
    threat.surface: threat for threat in (HistoryThreatModel, TextThreatModel, EmbeddingThreatModel)
}
"""Every threat model by its surface. A new threat is added here and to the cards of `recgauntlet.core.card`."""


def threat_model(card: Threat) -> ThreatModel[Any]:
    """The threat model of a card's threat."""
    return THREAT_MODELS[card.surface](card)
