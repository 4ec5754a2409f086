"""The ablation of the suite: each attack by itself on a subset. Sanity checks compare what the attacks leave."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.core.card import Threat, Tier
from recgauntlet.core.journal import Journal
from recgauntlet.core.protocol import SUBSET
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation.results import AblationResult
from recgauntlet.evaluation.robustness import run_attack
from recgauntlet.evaluation.setup import Trial, attackable
from recgauntlet.threats.budget import Budget


def subset_of(trial: Trial, threat: Threat) -> Tensor:
    """The first `SUBSET` test examples that the attacker changes: those of the ablation and the security curve."""
    return torch.nonzero(attackable(threat, trial.batch)).squeeze(1)[:SUBSET]


def run_alone(
    trial: Trial, threat: Threat, attacks: Sequence[Attack], tier: Tier, rng: Randomness, journal: Journal
) -> tuple[AblationResult, ...]:
    """Every attack that supports `tier`, on all examples of the subset that are right on the clean input, whatever
    the other attacks have broken. Each is a step of `journal`."""
    index = subset_of(trial, threat)
    budget = Budget.of(threat, tier)
    right = trial.right[index]
    results = []
    for attack in attacks:
        if not attack.supports(budget):
            continue
        key = f"alone/{threat.id}/{tier}/{attack.name}"
        result = journal.found(key, AblationResult)
        if result is None:
            broken = torch.zeros_like(right)
            if right.any():
                broken[right] = run_attack(
                    trial, attack, budget, index[right], rng.child(f"{tier}/{attack.name}")
                ).broken
            result = AblationResult(attack=attack.name, tier=tier, broken=broken.cpu().numpy())
            journal.keep(key, result)
        results.append(result)
    return tuple(results)
