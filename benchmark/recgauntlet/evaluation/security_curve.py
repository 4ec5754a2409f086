"""The security curve of a threat: what stays right on a subset as the budget grows from 0 to twice the high tier.

Source: security evaluation curves (Biggio, Fumera and Roli, "Security evaluation of pattern classifiers under attack",
IEEE TKDE 2014). A curve that stays flat when the budget grows without bound points to a failing attack, not to
robustness (Carlini et al. 2019, "On evaluating adversarial robustness").
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.suite import attacks_for
from recgauntlet.core.card import TIERS, Threat, Tier, TierValues
from recgauntlet.core.journal import Journal
from recgauntlet.core.protocol import CURVE_POINTS, CURVE_REACH
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation.results import CurveResult
from recgauntlet.evaluation.robustness import run_attack
from recgauntlet.evaluation.setup import Trial
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.registry import threat_model


def curve_budgets(threat: Threat, points: int = CURVE_POINTS) -> tuple[Budget, ...]:
    """At most `points` budgets from nothing to CURVE_REACH times `high`, rising, the three tiers among them.

    Points that are left after 0, the tiers and the end go into the middle of the widest gap, one after the other.
    Words, edits and characters are whole, so a small range has fewer points. Characters grow with the words (or
    by themselves, where a threat allows no words). The queries are those of the smallest tier that holds the amount,
    and those of `high` beyond it: only what may be changed grows further.
    """
    values = _values(threat)
    whole = threat_model(threat).is_discrete
    end = CURVE_REACH * values.high
    chosen = sorted({0.0, *(values.at(tier) for tier in TIERS), float(int(end)) if whole else end})
    while len(chosen) < points:
        gaps = np.diff(chosen)
        widest = int(gaps.argmax())
        middle = chosen[widest] + gaps[widest] / 2
        middle = float(int(middle)) if whole else float(middle)
        if middle in chosen:
            break
        chosen = sorted([*chosen, middle])
    return tuple(_budget(threat, values, amount) for amount in chosen)


def security_curve(
    trial: Trial,
    threat: Threat,
    rng: Randomness,
    index: Tensor,
    *,
    extra: Sequence[Attack] = (),
    journal: Journal | None = None,
) -> tuple[CurveResult, ...]:
    """What stays right of the test examples at `index [n]` under each budget of `curve_budgets`.

    The suite's attacks run at each budget on the examples that still stand, and then, at the tiers' own budgets,
    `extra` (transfer, which is searched for there anyway): what a smaller budget broke is legal inside a larger one.
    The first point is clean. A point is one step of `journal`.
    """
    journal = journal or Journal()
    tiers = [Budget.of(threat, tier) for tier in TIERS]
    standing = trial.right[index].clone()
    points: list[CurveResult] = []
    for number, budget in enumerate(curve_budgets(threat)):
        key = f"curve/{threat.id}/{number}"
        point = journal.found(key, CurveResult)
        if point is None:
            attacks = (*attacks_for(threat), *(extra if budget in tiers else ()))
            for attack in attacks if budget.amount or budget.characters else ():
                still = torch.nonzero(standing).squeeze(1)
                if len(still) and attack.supports(budget):
                    attempt = run_attack(trial, attack, budget, index[still], rng.child(f"{key}/{attack.name}"))
                    standing[still[attempt.broken]] = False
            point = CurveResult(
                amount=budget.amount,
                characters=budget.characters,
                queries=budget.queries,
                robust=standing.cpu().numpy().copy(),
            )
            journal.keep(key, point)
        standing = torch.from_numpy(point.robust.copy()).to(standing.device)
        points.append(point)
    return tuple(points)


def _values(threat: Threat) -> TierValues:
    """What the curve runs over: characters where a threat allows no words, else the amounts."""
    caps = threat.character_caps
    return caps if caps is not None and threat.amounts.high == 0 else threat.amounts


def _budget(threat: Threat, values: TierValues, amount: float) -> Budget:
    holding: list[Tier] = [tier for tier in TIERS if amount <= values.at(tier)]
    tier = holding[0] if holding else TIERS[-1]
    characters = 0
    caps = threat.character_caps
    if caps is not None:
        characters = round(_scaled(values, caps, amount))
        if values is caps:
            amount = 0.0
    return Budget(threat, tier, amount, characters, int(threat.queries.at(tier)))


def _scaled(values: TierValues, others: TierValues, amount: float) -> float:
    """What `others` allow where `values` allow `amount`: the tiers' own values, straight lines between and beyond."""
    if amount > values.high:
        return others.high * amount / values.high
    known = [0.0, *(values.at(tier) for tier in TIERS)]
    return float(np.interp(amount, known, [0.0, *(others.at(tier) for tier in TIERS)]))
