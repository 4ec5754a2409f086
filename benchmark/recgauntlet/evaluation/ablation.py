"""Each attack by itself on a subset: what the gates compare, and what an ablation of the suite is computed from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.core.card import Threat, Tier
from recgauntlet.core.journal import Journal
from recgauntlet.core.protocol import SUBSET
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation.robustness import Trial, attackable, run_attack
from recgauntlet.records.columns import BitColumn
from recgauntlet.records.schema import LoneAttack
from recgauntlet.threats.budget import Budget


def subset_of(trial: Trial, threat: Threat) -> Tensor:
    """The first `SUBSET` test examples that the attacker would touch."""
    return torch.nonzero(attackable(threat, trial.batch)).squeeze(1)[:SUBSET]


def run_alone(
    trial: Trial, threat: Threat, attacks: Sequence[Attack], tier: Tier, rng: Randomness, journal: Journal
) -> tuple[LoneAttack, ...]:
    """Every attack of `attacks` that has moves at `tier`, on all right examples of the subset, none dropped for what
    another has broken."""
    index = subset_of(trial, threat)
    budget = Budget.of(threat, tier)
    right = trial.right[index]
    out = []
    for attack in attacks:
        if not attack.supports(budget):
            continue

        def compute(attack: Attack = attack) -> LoneAttack:
            broken = torch.zeros_like(right)
            if right.any():
                found = run_attack(trial, attack, budget, index[right], rng.child(f"{tier}/{attack.name}"))
                broken[right] = found.broken
            return LoneAttack(attack=attack.name, tier=tier, broken=BitColumn.of(broken.cpu().numpy()))

        out.append(journal.do(f"alone/{threat.id}/{tier}/{attack.name}", LoneAttack, compute))
    return tuple(out)
