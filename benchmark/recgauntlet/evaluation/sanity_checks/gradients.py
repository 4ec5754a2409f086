"""Sanity checks of what an attack can follow: gradients, and an attack without limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import wrong_way
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import Threat
from recgauntlet.core.protocol import (
    FLAT,
    LARGEST_FLAT_SHARE,
    LARGEST_SLOPE,
    LEAST_SLOPE,
    LEFT_UNLIMITED,
    SMALL_STEP,
    STEP,
)
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation.robustness import run_attack
from recgauntlet.evaluation.sanity_checks import at_most
from recgauntlet.evaluation.setup import Trial
from recgauntlet.records.schema import Gate
from recgauntlet.threats.base import ThreatModel
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.registry import threat_model


def gradient_checks(trial: Trial, threat: Threat, index: Tensor) -> tuple[Gate, ...]:
    """Gradients with respect to the surface's continuous handle: right by finite differences, and none that vanishes
    under the margin or the cross-entropy."""
    batch, model = trial.batch.select(index), threat_model(threat)
    victim = replace(trial, half=False).victim_of(trial.batch) if trial.half else trial.victim
    victim.reset(None)
    logits, gradient, length = model.gradient(victim, batch)
    damage = wrong_way(batch) * logits
    slopes = {"margin": torch.ones_like(damage), "cross-entropy": torch.sigmoid(damage)}
    spread = max(float(trial.scores.std()), 1e-12)
    finite = torch.nan_to_num(gradient.flatten(1), nan=0.0, posinf=0.0, neginf=0.0)
    gain = finite.double().norm(dim=1) * STEP * length / spread
    shares = {loss: float((gain * slope < FLAT).double().mean()) for loss, slope in slopes.items()}
    worst = max(shares, key=lambda loss: shares[loss])
    return (
        _finite_difference_check(trial, model, batch, finite.view_as(gradient), length),
        at_most(
            name="gradients-are-there",
            threat=threat.id,
            value=shares[worst],
            limit=LARGEST_FLAT_SHARE,
            explanation="share of the examples whose gradient is zero, not a number or too small to follow: "
            + ", ".join(f"{share:.1%} under the {loss}" for loss, share in shares.items())
            + "; where gradients are gone, only attacks that need none can be believed",
            remedy="remove rounding, detached or saturated operations from the path of the input, or show that the "
            "model stands up to attacks on a smooth version of it",
        ),
    )


def _finite_difference_check(
    trial: Trial, model: ThreatModel[Any], batch: Batch, gradient: Tensor, length: float
) -> Gate:
    """The gradient agrees with central differences of the score along it."""
    norm = gradient.double().flatten(1).norm(dim=1)
    unit = torch.where(norm > 0, 1 / norm.clamp(min=1e-300), 0.0)[:, None, None] * gradient.double()
    step = (SMALL_STEP * length * unit).to(gradient.dtype)
    above, below = (
        torch.stack([model.shifted_scores(trial.model, batch, way) for _ in range(trial.samples)]).mean(dim=0).double()
        for way in (step, -step)
    )
    risen = (above - below) / 2
    ratio = torch.where(norm > 0, risen / (SMALL_STEP * length * norm).clamp(min=1e-300), 0.0)
    value = float(ratio.median()) if len(ratio) else 1.0
    return Gate(
        name="gradients-tell-the-slope",
        threat=model.card.id,
        passed=LEAST_SLOPE <= value <= LARGEST_SLOPE,
        value=value,
        limit=LEAST_SLOPE,
        explanation=f"a small step along the gradient brings {value:.2f} times what it promises (median), where "
        f"a smooth score brings about 1 and {LEAST_SLOPE:g} to {LARGEST_SLOPE:g} is allowed; gradients that promise "
        "something else mislead every attack that follows them",
        remedy="let autograd differentiate what is computed: no rounding, no detached path, no gradient of its own",
    )


def unbounded_attack(trial: Trial, budget: Budget, attack: Attack, index: Tensor, rng: Randomness) -> Gate:
    """Next to nothing stands where the ball is many times as large as the embeddings themselves."""
    standing = index[trial.right[index]]
    left = 0.0
    if len(standing):
        found = run_attack(trial, attack, budget, standing, rng.child("unlimited"))
        left = float((~found.broken).sum()) / len(index)
    return at_most(
        name="falls-without-limits",
        threat=budget.threat.id,
        value=left,
        limit=LEFT_UNLIMITED,
        explanation=f"{left:.1%} stand where every embedding may move by {budget.amount:g} times its size, so that an "
        "attacker can show anything; what stands there was not attacked",
        remedy="look for gradients that are zero, lead the wrong way, or stop at a saturated operation",
    )
