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

from recgauntlet.attacks.suite import attacks_beyond, attacks_for
from recgauntlet.core.card import TIERS, Threat, Tier, TierValues
from recgauntlet.core.journal import Journal
from recgauntlet.core.protocol import CURVE_POINTS, CURVE_REACH
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import BoolArray
from recgauntlet.evaluation.results import CurveResult, RadiiResult, ThreatResult
from recgauntlet.evaluation.robustness import broken_by, run_attack, smallest_radii
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
    trial: Trial, result: ThreatResult, rng: Randomness, *, journal: Journal | None = None
) -> tuple[CurveResult, ...]:
    """What stays right of the subset of `result` under each budget of `curve_budgets`. The first point is clean.

    What the tiers found is not searched again. A step of `journal` is a point, or the smallest radii together.
    """
    budgets = curve_budgets(result.threat)
    if threat_model(result.threat).is_discrete:
        return _by_edits(trial, result, budgets, rng, journal or Journal())
    return _by_radius(trial, result, budgets, rng, journal or Journal())


def _by_radius(
    trial: Trial, result: ThreatResult, budgets: Sequence[Budget], rng: Randomness, journal: Journal
) -> tuple[CurveResult, ...]:
    """An example stands at a radius where the smallest one found for it is larger."""
    key, right = f"curve/{result.threat.id}", trial.right.cpu().numpy()[list(result.subset)]
    radii = journal.do(key, RadiiResult, lambda: _smallest(trial, result, budgets[-1], rng.child(key))).radii
    return tuple(_point(budget, right & (radii > budget.amount)) for budget in budgets)


def _smallest(trial: Trial, result: ThreatResult, largest: Budget, rng: Randomness) -> RadiiResult:
    """The smallest radii that the tiers' attacks found, those of a search for the nearest point that fools the model,
    and, for what stands even so, those of one more attack inside the largest ball."""
    index = _subset(trial, result)
    radii = torch.full_like(trial.scores, torch.inf)
    for found in (attack for tier in result.tiers for attack in tier.attacks):
        met = torch.from_numpy(found.attacked).to(radii.device)
        radii[met] = radii[met].minimum(torch.from_numpy(found.radii).to(radii))
    for number, attack in enumerate(attacks_beyond()):
        rows = index[trial.right[index] & (radii[index].isinf() if number else True)]
        if len(rows):
            attempt = run_attack(trial, attack, largest, rows, rng.child(attack.name))
            radii[rows] = radii[rows].minimum(smallest_radii(trial, largest, rows, attempt).to(radii))
    return RadiiResult(radii=radii[index].cpu().numpy())


def _by_edits(
    trial: Trial, result: ThreatResult, budgets: Sequence[Budget], rng: Randomness, journal: Journal
) -> tuple[CurveResult, ...]:
    """The tiers' points are what the tiers found. Between two of them the suite runs on what the next tier breaks, and
    beyond the last on what still stands."""
    threat, index = result.threat, _subset(trial, result)
    left = {Budget.of(threat, tier.tier): torch.from_numpy(tier.robust).to(index.device) for tier in result.tiers}
    standing = trial.right[index].clone()
    points: list[CurveResult] = []
    for number, budget in enumerate(budgets):
        key = f"curve/{threat.id}/{number}"
        point = journal.found(key, CurveResult)
        if point is None:
            if budget in left:
                standing &= left[budget][index]
            elif number:
                held = next((left[other][index] for other in budgets[number:] if other in left), None)
                within = standing if held is None else standing & ~held
                standing[broken_by(trial, budget, attacks_for(threat), index, within, rng.child(key))] = False
            point = _point(budget, standing.cpu().numpy().copy())
            journal.keep(key, point)
        standing = torch.from_numpy(point.robust.copy()).to(standing.device)
        points.append(point)
    return tuple(points)


def _subset(trial: Trial, result: ThreatResult) -> Tensor:
    return torch.tensor(result.subset, dtype=torch.int64, device=trial.right.device)


def _point(budget: Budget, robust: BoolArray) -> CurveResult:
    return CurveResult(amount=budget.amount, characters=budget.characters, queries=budget.queries, robust=robust)


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
