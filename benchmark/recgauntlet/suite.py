"""The fixed suite of attacks: which run against a threat, in which order, and the hash that names them."""

from __future__ import annotations

import hashlib
import json

from recgauntlet.attack import Attack
from recgauntlet.attacks.embedding import FGM, FGSM, PGD, RandomEmbedding
from recgauntlet.attacks.history import HistoryGradient, HistoryQuery, RandomHistory
from recgauntlet.attacks.text import CharacterSwap, RandomText, WordGradient, WordQuery
from recgauntlet.attacks.transfer import Transfer
from recgauntlet.card import EmbeddingThreat, HistoryThreat, TextThreat
from recgauntlet.recommender import Surface
from recgauntlet.record import SuiteRef
from recgauntlet.victim import Victim

SUITE_ID = "preview-1"
SUITE_VERSION = "1"
"""Rises with any change of the attacks' code or of the verifier that can move a number."""

AnyThreat = EmbeddingThreat | TextThreat | HistoryThreat


def attacks_for(threat: AnyThreat) -> tuple[Attack, ...]:
    """The attacks on the model itself, cheap ones first; random is always the first. `Attack.supports` may
    rule one out for a threat's budget."""
    return _attacks()[threat.surface]


def suite_attacks() -> tuple[Attack, ...]:
    """Every attack of the suite, surface by surface in the order they run."""
    return tuple(attack for attacks in _attacks().values() for attack in attacks)


def transfer_for(threat: AnyThreat, twin: Victim) -> Transfer:
    """The transfer attack of the threat's surface from `twin`, a victim made of the undefended twin and the
    same clean batch; it is part of the suite and runs after `attacks_for`."""
    by_characters = isinstance(threat, TextThreat) and threat.characters is not None
    return Transfer(_on_twin()["characters" if by_characters else threat.surface], twin)


def suite_ref() -> SuiteRef:
    """The suite's id, version, and a SHA-256 over both and every attack's name, order and
    hyper-parameters."""
    content = {
        "id": SUITE_ID,
        "version": SUITE_VERSION,
        "attacks": {
            surface: [[attack.name, attack.hyperparameters()] for attack in attacks]
            for surface, attacks in _attacks().items()
        },
        "transfer": {surface: [attack.name, attack.hyperparameters()] for surface, attack in _on_twin().items()},
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return SuiteRef(id=SUITE_ID, version=SUITE_VERSION, fingerprint=digest)


def _attacks() -> dict[Surface, tuple[Attack, ...]]:
    return {
        "embedding": (RandomEmbedding(), FGM(), FGSM(), PGD()),
        "candidate-text": (RandomText(), CharacterSwap(), WordQuery(), WordGradient()),
        "history": (RandomHistory(), HistoryQuery(), HistoryGradient()),
    }


def _on_twin() -> dict[str, Attack]:
    """What is run against the twin, by surface; `characters` where a text threat allows character edits."""
    return {
        "embedding": PGD(stop_when_fallen=False),
        "candidate-text": WordGradient(stop_when_fallen=False),
        "characters": CharacterSwap(stop_when_fallen=False),
        "history": HistoryGradient(stop_when_fallen=False),
    }
