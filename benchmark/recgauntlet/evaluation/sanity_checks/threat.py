"""Sanity checks of what the attacks found: stronger attacks and larger budgets leave no more standing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.core.card import RANKING_TIER, TIERS, Threat, Tier
from recgauntlet.core.protocol import DISCRETE_SLACK, LARGEST_UNATTACKABLE, SLACK, STANDARD_ERRORS
from recgauntlet.core.types import BoolArray
from recgauntlet.evaluation.results import AblationResult
from recgauntlet.evaluation.sanity_checks import at_most
from recgauntlet.evaluation.setup import Trial
from recgauntlet.records.schema import Gate
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.registry import threat_model

_ONE_STEP = frozenset({"fgm", "fgsm"})


def attackability(trial: Trial, threat: Threat, index: Tensor) -> Gate:
    """Nearly every example has something legal to try."""
    clean = trial.batch.select(index)
    legal = threat_model(threat).has_legal_input(trial.world, clean, Budget.of(threat, RANKING_TIER))
    nothing = int((~legal).sum())
    return at_most(
        name="attackable",
        threat=threat.id,
        value=nothing / max(1, len(index)),
        limit=LARGEST_UNATTACKABLE,
        explanation=f"{nothing} of {len(index)} examples have no legal input beside the clean one; where they are more "
        f"than {LARGEST_UNATTACKABLE:.0%} the threat is not attackable here, and robust accuracy is clean accuracy",
        remedy="widen the threat on the task's card (for histories, lower min_cosine), or leave it out",
    )


def attack_comparisons(
    threat: Threat, attacks: Sequence[Attack], alone: Sequence[AblationResult], right: BoolArray
) -> tuple[Gate, ...]:
    """Compare what `attacks` left by themselves on the subset, of which `right` were right before.

    More may be left by the attack that knows more, the larger budget or the search only by chance.
    """
    left = {found.attack: right & ~found.broken for found in alone if found.tier == "standard"}
    ran = [attack for attack in attacks if attack.name in left]
    white = [a.name for a in ran if a.uses_gradients]
    ways = {a.edits for a in ran if a.uses_gradients}
    blind = [a for a in ran if not (a.uses_gradients or a.is_random or a.name == "transfer")]
    searches = [a.name for a in ran if not a.is_random]
    slack = DISCRETE_SLACK if threat_model(threat).is_discrete else SLACK
    checks = [damage_grows(threat, alone, right)]

    def compare(
        name: str, own: Sequence[str], other: Sequence[str], explanation: str, remedy: str, slack: float = SLACK
    ) -> None:
        if own and other:
            together = (_together(left, own), _together(left, other))
            checks.append(no_weaker(name, threat, *together, explanation, remedy, slack))

    compare(
        "attack-beats-random",
        searches,
        [a.name for a in ran if a.is_random],
        "all searches together leave {own}, random perturbation at the same budget {other}; attacks that chance beats "
        "are blind here",
        "look for zero or misleading gradients, or scores that do not depend on the input",
    )
    compare(
        "black-box-no-better",
        white,
        [a.name for a in blind if a.edits in ways],
        "attacks with gradients leave {own}, attacks that only ask for scores {other}; where the blind do better, "
        "gradients are masked",
        "remove rounding, detached or saturated operations from the path of the input",
        slack,
    )
    compare(
        "transfer-no-better",
        [name for name in searches if name != "transfer"],
        [name for name in searches if name == "transfer"],
        "attacks on the model itself leave {own}, inputs found on its undefended twin {other}; where a stranger's "
        "inputs do better, the model hides from attacks instead of withstanding them",
        "remove what hides gradients or scores: rounding, noise, scaled logits",
        slack,
    )
    compare(
        "pgd-at-least-fgsm",
        [name for name in white if name == "pgd"],
        [name for name in white if name in _ONE_STEP],
        "PGD leaves {own}, one step {other}; where one step does better, gradients are masked",
        "look for gradients that lead the wrong way after the first step",
    )
    return tuple(checks)


def damage_grows(threat: Threat, alone: Sequence[AblationResult], right: BoolArray) -> Gate:
    """No more left at a larger budget, over the attacks that ran at every tier, each tier searched anew."""
    by_tier: dict[Tier, dict[str, BoolArray]] = {tier: {} for tier in TIERS}
    for found in alone:
        by_tier[found.tier][found.attack] = right & ~found.broken
    common = [name for name in by_tier[TIERS[0]] if all(name in by_tier[tier] for tier in TIERS)]
    left = [_together(by_tier[tier], common) if common else right for tier in TIERS]
    rises = [_rise(after, before, SLACK) for before, after in itertools.pairwise(left)]
    gap, limit = max(rises, key=lambda rise: rise[0] - rise[1])
    shares = ", ".join(f"{float(bits.mean()):.1%}" for bits in left)
    return at_most(
        name="damage-grows-with-budget",
        threat=threat.id,
        value=max(gap, 0.0),
        limit=limit,
        explanation=f"{' and '.join(common) or 'nothing'}, run anew at the tiers {', '.join(TIERS)}, leaves {shares}; "
        "where more is left at a larger budget, the attacks are misled",
        remedy="look for gradients or scores that mislead a search the further it goes",
    )


def no_weaker(
    name: str,
    threat: Threat,
    left_by_own: BoolArray,
    left_by_other: BoolArray,
    explanation: str,
    remedy: str,
    slack: float = SLACK,
) -> Gate:
    """A check that fails where `left_by_own [K]` exceeds `left_by_other [K]` by more than chance and the slack.

    The limit is the larger of the slack and 2.33 standard errors of the difference of two shares of the same examples
    (McNemar: the root of the examples on which they differ, over K).
    """
    gap, limit = _rise(left_by_own, left_by_other, slack)
    shares = {"own": f"{float(left_by_own.mean()):.1%}", "other": f"{float(left_by_other.mean()):.1%}"}
    return at_most(
        name=name,
        threat=threat.id,
        value=gap,
        limit=limit,
        explanation=explanation.format(**shares),
        remedy=remedy,
    )


def _rise(one: BoolArray, other: BoolArray, slack: float) -> tuple[float, float]:
    gap = float(one.mean()) - float(other.mean())
    return gap, max(slack, STANDARD_ERRORS * math.sqrt(int((one != other).sum())) / max(len(one), 1))


def _together(left: dict[str, BoolArray], names: Sequence[str]) -> BoolArray:
    """What all of `names` leave: the worst case over them."""
    together: BoolArray = np.logical_and.reduce([left[name] for name in names])
    return together
