"""The fixed suite of attacks: which run against a threat, in which order, and the hash that names them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.embedding.apgd import APGD
from recgauntlet.attacks.embedding.ddn import DDN
from recgauntlet.attacks.embedding.pgd import FGM, FGSM, PGD, RandomEmbedding
from recgauntlet.attacks.embedding.smoothed import SmoothedPGD
from recgauntlet.attacks.embedding.square import Square
from recgauntlet.attacks.history.ads import dodging_attacks
from recgauntlet.attacks.history.greedy import HistoryGradient, HistoryQuery, RandomHistory
from recgauntlet.attacks.surrogate import SurrogateInputs
from recgauntlet.attacks.text.greedy import CharacterGradient, CharacterSwap, WordGradient, WordQuery
from recgauntlet.attacks.text.keywords import Keywords
from recgauntlet.attacks.text.random import RandomText
from recgauntlet.attacks.transfer import Transfer
from recgauntlet.core.card import RANKING_TIER, Threat
from recgauntlet.core.protocol import evaluator
from recgauntlet.records.references import SuiteRef

SUITE_ID = "gauntlet"
SUITE_VERSION = "2.0"
"""Rises with any change of the attacks' code or of the verifier that can move a number."""

_PROBES = frozenset({"pgd", "square", "word-gradient", "word-query", "history-gradient", "history-query"})


def suite_attacks() -> tuple[Attack, ...]:
    """Every attack on the model itself, surface by surface in the order they run: cheap ones first, the random
    baseline, which says whether chance adds anything, last."""
    return (
        FGM(),
        FGSM(),
        PGD(restarts=0),
        APGD(),
        DDN(),
        APGD(loss="ce", start="random", steps=25, name="apgd-ce"),
        APGD(loss="rank", start="random", steps=25, name="apgd-rank"),
        SmoothedPGD(tier=RANKING_TIER),
        Square(),
        RandomEmbedding(),
        WordGradient(),
        WordQuery(),
        CharacterGradient(),
        CharacterSwap(),
        Keywords(beam=4),
        WordGradient(beam=8, name="word-gradient-beam"),
        WordQuery(beam=4, moves=64, name="word-query-beam"),
        CharacterGradient(beam=8, moves=50, name="character-gradient-beam"),
        CharacterSwap(beam=8, moves=50, name="character-beam"),
        RandomText(),
        HistoryGradient(),
        HistoryQuery(),
        HistoryGradient(beam=4, moves=120, name="history-gradient-beam"),
        HistoryQuery(beam=4, moves=120, name="history-query-beam"),
        RandomHistory(),
    )


def twin_attacks() -> tuple[Attack, ...]:
    """The searches that are run against the undefended twin, none of which stops where the twin falls."""
    return (
        APGD(stop_when_fallen=False),
        DDN(rounds=1, stop_when_fallen=False),
        Square(stop_when_fallen=False),
        WordGradient(stop_when_fallen=False),
        WordQuery(stop_when_fallen=False),
        CharacterGradient(stop_when_fallen=False),
        CharacterSwap(stop_when_fallen=False),
        Keywords(beam=4, stop_when_fallen=False),
        HistoryGradient(stop_when_fallen=False),
        HistoryQuery(stop_when_fallen=False),
    )


def attacks_for(threat: Threat) -> tuple[Attack, ...]:
    """The attacks on the model itself, in order. `Attack.supports` may rule one out for a threat's budget."""
    return tuple(attack for attack in suite_attacks() if attack.surface == threat.surface)


def attacks_on_twin(threat: Threat) -> tuple[Attack, ...]:
    """Those of `twin_attacks` on the threat's surface."""
    return tuple(attack for attack in twin_attacks() if attack.surface == threat.surface)


def transfer_for(threat: Threat, twin: SurrogateInputs) -> Transfer:
    """The transfer attack of the threat's surface; it is part of the suite and runs after `attacks_for`."""
    return Transfer(attacks_on_twin(threat), twin)


def probes_for(threat: Threat) -> tuple[Attack, ...]:
    """The attacks that are run by themselves at every tier, to see whether damage grows with the budget: the cheapest
    full searches of the surface, one with gradients and one without."""
    return tuple(attack for attack in attacks_for(threat) if attack.name in _PROBES)


def attacks_beyond() -> tuple[Attack, ...]:
    """What the security curve of an embedding threat runs at its largest radius, beside what the tiers found: a search
    for the nearest point that fools, and an ascent for what that leaves."""
    return (DDN(rounds=1, keep="nearest", stop_when_fallen=False, name="ddn-nearest"), APGD())


def suite_ref() -> SuiteRef:
    """The suite's id, version, and a SHA-256 over both and every attack's name, order and hyper-parameters, and the
    evaluator's limits."""
    content = {
        "id": SUITE_ID,
        "version": SUITE_VERSION,
        "attacks": _by_surface(suite_attacks()),
        "transfer": _by_surface(twin_attacks()),
        "curve": [[attack.name, attack.hyperparameters()] for attack in attacks_beyond()],
        "ads": [[attack.name, attack.hyperparameters()] for attack in dodging_attacks()],
        "evaluator": evaluator(),
    }
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return SuiteRef(id=SUITE_ID, version=SUITE_VERSION, fingerprint=digest)


def _by_surface(attacks: Sequence[Attack]) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for attack in attacks:
        found.setdefault(attack.surface, []).append([attack.name, attack.hyperparameters()])
    return found
