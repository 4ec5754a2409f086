"""Sanity gates: small predicates, each with a remedy, that say whether a row's robustness may be believed.

A row with a failed gate stays on the board, flagged and unranked.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recgauntlet.attack import Attack, Budget
from recgauntlet.card import TIERS, TaskCard, Threat, Tier
from recgauntlet.evaluation import Trial, attackable, is_right, run_attack, score_in_chunks
from recgauntlet.metrics import auc
from recgauntlet.record import Gate
from recgauntlet.rng import Randomness
from recgauntlet.suite import attacks_for

SUBSET = 100
"""Examples that attacks are run on by themselves, without early exit, for the gates that compare attacks."""
SLACK = 0.03
"""Share of the subset by which a greedy or random search may miss by chance."""
LARGEST_SHARE = 0.8
"""A model that gives one answer to more than this share of balanced examples is near a constant."""
SAME = 1e-3
"""Largest change of a score, relative to the spread of all scores, that counts as none."""


def model_gates(trial: Trial) -> tuple[Gate, ...]:
    """Gates that speak of the model alone."""
    scores = trial.scores.cpu().numpy().astype(np.float64)
    labels = trial.batch.labels.cpu().numpy() > 0.5
    finite = np.isfinite(scores)
    share = float(np.mean(scores > 0))
    share = max(share, 1 - share)
    value = float(auc(labels, scores)) if finite.all() else 0.0
    # twice the standard error of the share of ordered pairs under chance
    chance = 0.5 + 1.0 / np.sqrt(len(labels) / 2)
    again = score_in_chunks(trial.model, trial.batch).cpu().numpy()
    change = _change(trial.scores.cpu(), torch.from_numpy(again))
    return (
        Gate(
            name="finite-scores",
            threat="",
            passed=bool(finite.all()),
            value=float(np.mean(~finite)),
            limit=0.0,
            explanation=f"{np.mean(~finite):.1%} of the scores are not numbers; look for overflow in the model",
        ),
        Gate(
            name="not-constant",
            threat="",
            passed=share <= LARGEST_SHARE,
            value=share,
            limit=LARGEST_SHARE,
            explanation=f"{share:.1%} of the predictions are the same on balanced examples; "
            "the nearer a model is to a constant, the less can be attacked, "
            "so its robustness means nothing. Lower epsilon or lengthen the warm-up",
        ),
        Gate(
            name="better-than-chance",
            threat="",
            passed=value > chance,
            value=value,
            limit=float(chance),
            explanation=f"the AUC of {value:.3f} must exceed {chance:.3f} (chance and two standard errors); the model "
            "has learned nothing that could be attacked",
        ),
        Gate(
            name="deterministic",
            threat="",
            passed=change <= SAME,
            value=change,
            limit=SAME,
            explanation=f"scoring the same inputs twice moves scores by {change:.1e} of their spread; randomness at "
            "inference hides errors from an attack without mending them",
        ),
    )


def threat_gates(trial: Trial, card: TaskCard, rng: Randomness) -> tuple[Gate, ...]:
    """Gates that run the suite's attacks by themselves on a fixed subset of the test examples."""
    gates: list[Gate] = []
    for threat in card.threats:
        if threat.surface in trial.model.surfaces:
            gates += _gates_of(trial, threat, rng.child(f"gates/{threat.id}"))
    return tuple(gates)


def _gates_of(trial: Trial, threat: Threat, rng: Randomness) -> list[Gate]:
    index = torch.nonzero(attackable(threat, trial.batch)).squeeze(1)[:SUBSET]
    suite = [attack for attack in attacks_for(threat) if attack.supports(Budget.of(threat, "standard"))]
    alone = {attack.name: _robust(trial, attack, threat, "standard", index, rng) for attack in suite}
    searching = {attack.name: alone[attack.name] for attack in suite if not attack.is_random}
    random = {attack.name: alone[attack.name] for attack in suite if attack.is_random}
    best = min(searching, key=lambda name: searching[name])
    by_name = {attack.name: attack for attack in suite}
    curve = [_robust(trial, by_name[best], threat, tier, index, rng) for tier in TIERS]
    rise = max(0.0, *(later - earlier for earlier, later in itertools.pairwise(curve)))
    gates = [
        _zero_budget(trial, threat, index),
        Gate(
            name="damage-grows-with-budget",
            threat=threat.id,
            passed=rise <= SLACK,
            value=rise,
            limit=SLACK,
            explanation=f"robust accuracy under {best} at the tiers {', '.join(TIERS)}: "
            f"{', '.join(f'{value:.1%}' for value in curve)}; where it rises, gradients mislead the attack",
        ),
    ]
    if random:
        gap = searching[best] - min(random.values())
        gates.append(
            Gate(
                name="attack-beats-random",
                threat=threat.id,
                passed=gap <= SLACK,
                value=gap,
                limit=SLACK,
                explanation=f"{best} leaves {searching[best]:.1%}, random perturbation at the same budget "
                f"{min(random.values()):.1%}; an attack that chance beats is blind here",
            )
        )
    gates += _iterated_beats_one_step(threat, searching)
    return gates


def _iterated_beats_one_step(threat: Threat, alone: dict[str, float]) -> list[Gate]:
    one_step = [value for name, value in alone.items() if name in {"fgm", "fgsm"}]
    if not one_step or "pgd" not in alone:
        return []
    gap = alone["pgd"] - min(one_step)
    return [
        Gate(
            name="pgd-at-least-fgsm",
            threat=threat.id,
            passed=gap <= SLACK,
            value=gap,
            limit=SLACK,
            explanation=f"PGD leaves {alone['pgd']:.1%}, one step {min(one_step):.1%}; where one step does better, "
            "gradients are masked",
        )
    ]


def _robust(trial: Trial, attack: Attack, threat: Threat, tier: Tier, index: Tensor, rng: Randomness) -> float:
    """The share of the examples at `index` that are right and stay right under `attack` alone."""
    standing = index[trial.right[index]]
    if len(standing) == 0:
        return 0.0
    found = run_attack(trial, attack, Budget.of(threat, tier), standing, rng.child(f"{tier}/{attack.name}"))
    return float((~found.broken).sum()) / len(index)


def _zero_budget(trial: Trial, threat: Threat, index: Tensor) -> Gate:
    """Nothing is changed, but the input takes the way that a perturbed one takes."""
    clean = trial.batch.select(index)
    if threat.surface == "candidate-text":
        texts = trial.world.catalog.texts
        same = clean.with_texts([texts[i] for i in clean.items.tolist()])
    elif threat.surface == "history":
        same = clean.with_histories(clean.histories())
    else:
        with torch.no_grad():
            embedded = trial.model.embed(trial.model.candidates(clean.items))
        same = clean.with_delta(torch.zeros_like(embedded))
    scores = score_in_chunks(trial.model, same)
    change = _change(trial.scores[index], scores)
    flips = int((is_right(scores, clean) != trial.right[index]).sum())
    return Gate(
        name="zero-budget-is-clean",
        threat=threat.id,
        passed=change <= SAME,
        value=change,
        limit=SAME,
        explanation=f"an unchanged input sent along the path of a perturbed one moves scores by {change:.1e} of their "
        f"spread and flips {flips} answers; the model tells attacked inputs from clean ones",
    )


def _change(before: Tensor, after: Tensor) -> float:
    """The largest change, relative to the standard deviation of `before`; infinite where either is not a number."""
    before, after = before.double().cpu(), after.double().cpu()
    if not (torch.isfinite(before).all() and torch.isfinite(after).all()):
        return float("inf")
    spread = max(float(before.std()) if len(before) > 1 else 0.0, 1e-6)
    return float((before - after).abs().max()) / spread


def failed(gates: Sequence[Gate]) -> tuple[Gate, ...]:
    """The gates that did not pass."""
    return tuple(gate for gate in gates if not gate.passed)
