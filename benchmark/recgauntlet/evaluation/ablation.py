"""The ablation of the suite: each attack by itself on a subset. Sanity checks compare what the attacks leave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.core.card import Threat, Tier
from recgauntlet.core.journal import Journal
from recgauntlet.core.protocol import SUBSET
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Edit
from recgauntlet.evaluation.results import AblationResult, ThreatResult
from recgauntlet.evaluation.robustness import run_attack, step_key, text_edits_of
from recgauntlet.evaluation.setup import Trial, attackable
from recgauntlet.threats.budget import Budget


def subset_of(trial: Trial, threat: Threat) -> Tensor:
    """The first `SUBSET` test examples that the attacker changes: those of the ablation and the security curve."""
    return torch.nonzero(attackable(threat, trial.batch)).squeeze(1)[:SUBSET]


def run_alone(
    trial: Trial, result: ThreatResult, tier: Tier, attacks: Sequence[Attack], rng: Randomness, journal: Journal
) -> tuple[AblationResult, ...]:
    """Every attack that supports `tier`, on all examples of the subset that are right on the clean input.

    Examples that the attack met when `result` was computed are not searched again: what it finds for an example depends
    on that example alone. Each attack is a step of `journal`.
    """
    threat = result.threat
    index, budget = subset_of(trial, threat), Budget.of(threat, tier)
    known = {attack.name: attack for found in result.tiers if found.tier == tier for attack in found.attacks}
    results = []
    for attack in attacks:
        if not attack.supports(budget):
            continue
        name = step_key(threat, tier, attack)
        alone = journal.found(f"alone/{name}", AblationResult)
        if alone is None:
            met = broken = np.zeros(len(trial.batch), dtype=np.bool_)
            edits: dict[int, tuple[Edit, ...]] = {}
            if attack.name in known:
                met, broken = known[attack.name].attacked, known[attack.name].broken
                edits |= known[attack.name].edits_of
            rest = index[trial.right[index] & ~torch.from_numpy(met).to(index.device)[index]]
            if len(rest):
                broken = broken.copy()
                attempt = run_attack(trial, attack, budget, rest, rng.child(name))
                broken[rest.cpu().numpy()] = attempt.broken.cpu().numpy()
                found = rest[attempt.broken].tolist()
                edits |= dict(zip(found, text_edits_of(trial, budget, rest, attempt), strict=False))
            own = [edits[row] for row in index.tolist() if row in edits]
            alone = AblationResult(attack=attack.name, tier=tier, broken=broken[index.cpu().numpy()], edits=tuple(own))
            journal.keep(f"alone/{name}", alone)
        results.append(alone)
    return tuple(results)
