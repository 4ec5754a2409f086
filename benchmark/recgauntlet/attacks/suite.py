"""The fixed suite of attacks: which run against a threat, in which order, and the hash that names them."""

from __future__ import annotations

import hashlib
import json

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.embedding.apgd import APGD
from recgauntlet.attacks.embedding.ddn import DDN
from recgauntlet.attacks.embedding.pgd import FGM, FGSM, PGD, RandomEmbedding
from recgauntlet.attacks.embedding.square import Square
from recgauntlet.attacks.history.greedy import HistoryGradient, HistoryQuery, RandomHistory
from recgauntlet.attacks.surrogate import SurrogateInputs
from recgauntlet.attacks.text.greedy import CharacterSwap, RandomText, WordGradient, WordQuery
from recgauntlet.attacks.text.keywords import Keywords
from recgauntlet.attacks.transfer import Transfer
from recgauntlet.core.card import EmbeddingThreat, HistoryThreat, TextThreat
from recgauntlet.core.protocol import evaluator
from recgauntlet.core.types import Surface
from recgauntlet.records.references import SuiteRef

SUITE_ID = "gauntlet"
SUITE_VERSION = "1.0"
"""Rises with any change of the attacks' code or of the verifier that can move a number."""

_PROBES = frozenset({"pgd", "square", "word-gradient", "word-query", "history-gradient", "history-query"})

AnyThreat = EmbeddingThreat | TextThreat | HistoryThreat


def attacks_for(threat: AnyThreat) -> tuple[Attack, ...]:
    """The attacks on the model itself, cheap ones first; the random baseline, which says whether chance adds anything,
    comes last. `Attack.supports` may rule one out for a threat's budget."""
    return _attacks()[threat.surface]


def suite_attacks() -> tuple[Attack, ...]:
    """Every attack of the suite, surface by surface in the order they run."""
    return tuple(attack for attacks in _attacks().values() for attack in attacks)


def transfer_for(threat: AnyThreat, twin: SurrogateInputs) -> Transfer:
    """The transfer attack of the threat's surface from the undefended twin; it is part of the suite and runs after
    `attacks_for`."""
    return Transfer(attacks_on_twin(threat), twin)


def attacks_on_twin(threat: AnyThreat) -> tuple[Attack, ...]:
    """What is run against the undefended twin: the searches of the suite, none of which stops where the twin falls."""
    return _on_twin()[threat.surface]


def probes_for(threat: AnyThreat) -> tuple[Attack, ...]:
    """The attacks that are run by themselves at every tier, to see whether damage grows with the budget: the cheapest
    full searches of the surface, one with gradients and one without."""
    return tuple(attack for attack in attacks_for(threat) if attack.name in _PROBES)


def suite_ref() -> SuiteRef:
    """The suite's id, version, and a SHA-256 over both and every attack's name, order and
    hyper-parameters, and the evaluator's limits."""
    content = {
        "id": SUITE_ID,
        "version": SUITE_VERSION,
        "attacks": {
            surface: [[attack.name, attack.hyperparameters()] for attack in attacks]
            for surface, attacks in _attacks().items()
        },
        "transfer": {
            surface: [[attack.name, attack.hyperparameters()] for attack in attacks]
            for surface, attacks in _on_twin().items()
        },
        "evaluator": evaluator(),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return SuiteRef(id=SUITE_ID, version=SUITE_VERSION, fingerprint=digest)


def _attacks() -> dict[Surface, tuple[Attack, ...]]:
    return {
        "embedding": (
            FGM(),
            FGSM(),
            PGD(restarts=0),
            APGD(),
            DDN(),
            APGD(loss="ce", start="random", steps=25, name="apgd-ce"),
            APGD(loss="rank", start="random", steps=25, name="apgd-rank"),
            Square(),
            RandomEmbedding(),
        ),
        "candidate-text": (
            WordGradient(),
            WordQuery(),
            CharacterSwap(),
            Keywords(beam=4),
            WordGradient(beam=8, name="word-gradient-beam"),
            WordQuery(beam=4, moves=64, name="word-query-beam"),
            CharacterSwap(beam=4, moves=64, name="character-beam"),
            RandomText(),
        ),
        "history": (
            HistoryGradient(),
            HistoryQuery(),
            HistoryGradient(beam=8, moves=32, name="history-gradient-beam"),
            HistoryQuery(beam=4, name="history-query-beam"),
            RandomHistory(),
        ),
    }


def _on_twin() -> dict[Surface, tuple[Attack, ...]]:
    return {
        "embedding": (
            APGD(stop_when_fallen=False),
            DDN(rounds=1, stop_when_fallen=False),
            Square(stop_when_fallen=False),
        ),
        "candidate-text": (
            WordGradient(stop_when_fallen=False),
            WordQuery(stop_when_fallen=False),
            CharacterSwap(stop_when_fallen=False),
            Keywords(beam=4, stop_when_fallen=False),
        ),
        "history": (HistoryGradient(stop_when_fallen=False), HistoryQuery(stop_when_fallen=False)),
    }
