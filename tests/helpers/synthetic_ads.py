"""A record of lists with simulated ads, small enough to count by hand."""

from __future__ import annotations

import numpy as np
from synthetic_records import make_record

from recgauntlet.records.ads import AdAttackOutcome, AdOutcome, AdTierOutcome
from recgauntlet.records.columns import BitColumn
from recgauntlet.records.parts import AttackEffort, Gate
from recgauntlet.records.schema import RunRecord

EFFORT = AttackEffort(forwards=1, backwards=0, user_encodings=0, cache_hits=0, seconds=0.0)
SHOWN = [[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]]


def bits(rows: list[list[int]]) -> BitColumn:
    return BitColumn.of(np.array(rows, dtype=np.bool_).reshape(-1))


def attack(name: str, rows: list[list[int]]) -> AdAttackOutcome:
    return AdAttackOutcome(name=name, hyperparameters={}, ads=bits(rows), violations=0, effort=EFFORT)


def ad_outcome(draw: int = 0, shown: list[list[int]] = SHOWN) -> AdOutcome:
    low = AdTierOutcome(
        tier="low",
        edits=1,
        queries=10,
        attacks=(
            attack("folk-rule", SHOWN),
            attack("dodging-gradient", [[0, 0, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]]),
        ),
    )
    standard = AdTierOutcome(
        tier="standard",
        edits=2,
        queries=20,
        attacks=(
            attack("folk-rule", [[1, 1, 0], [0, 0, 0], [0, 0, 0], [1, 1, 1]]),
            attack("dodging-gradient", [[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1]]),
        ),
    )
    return AdOutcome(
        threat="ad-dodging",
        draw=draw,
        applicable=True,
        lists=4,
        sponsored=3,
        offset=0.5,
        shown=bits(shown),
        tiers=(low, standard) if draw == 0 else (standard.model_copy(update={"attacks": standard.attacks[1:]}),),
        checks=(Gate(name="a-check", threat="ad-dodging", passed=draw == 0, value=1, limit=0, explanation="e"),),
    )


def record_with_ads(seed: int = 0, *ads: AdOutcome) -> RunRecord:
    return make_record(seed=seed).model_copy(update={"ads": ads or (ad_outcome(), ad_outcome(1))}).sealed()
