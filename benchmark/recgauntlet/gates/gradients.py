"""Gates on what an attack can follow: gradients that are there, under every loss, and lead somewhere without limits."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from recgauntlet.attack import Attack, Budget
from recgauntlet.attacks.search import wrong_way
from recgauntlet.batch import Batch
from recgauntlet.card import EmbeddingThreat, Threat
from recgauntlet.evaluation import Trial, run_attack
from recgauntlet.limits import FLAT, LARGEST_FLAT_SHARE, LEFT_UNLIMITED, UNLIMITED
from recgauntlet.record import Gate
from recgauntlet.rng import Randomness

STEP = 0.1
"""The length of the step that a gradient is judged by, in mean norms of an embedding."""


def flat_gates(trial: Trial, threat: Threat, index: Tensor) -> tuple[Gate, ...]:
    """Gradients of the margin and of the cross-entropy with respect to the surface's continuous handle."""
    batch = trial.batch.select(index)
    trial.victim.reset(None)
    logits, gradient, length = _gradients(trial, threat, batch)
    damage = wrong_way(batch) * logits
    slopes = {"margin": torch.ones_like(damage), "cross-entropy": torch.sigmoid(damage)}
    spread = max(float(trial.scores.std()), 1e-12)
    finite = torch.nan_to_num(gradient.flatten(1), nan=0.0, posinf=0.0, neginf=0.0)
    gain = finite.double().norm(dim=1) * STEP * length / spread
    shares = {loss: float((gain * slope < FLAT).double().mean()) for loss, slope in slopes.items()}
    worst = max(shares, key=lambda loss: shares[loss])
    return (
        Gate(
            name="gradients-are-there",
            threat=threat.id,
            passed=shares[worst] <= LARGEST_FLAT_SHARE,
            value=shares[worst],
            limit=LARGEST_FLAT_SHARE,
            explanation="share of the examples whose gradient is zero, not a number or too small to follow: "
            + ", ".join(f"{share:.1%} under the {loss}" for loss, share in shares.items())
            + "; where gradients are gone, only attacks that need none can be believed",
            remedy="remove rounding, detached or saturated operations from the path of the input, or show that the "
            "model stands up to attacks on a smooth version of it",
        ),
    )


def _gradients(trial: Trial, threat: Threat, batch: Batch) -> tuple[Tensor, Tensor, float]:
    """Logits `[B]`, input gradients `[B, ...]`, and the mean norm of one vector of the handle."""
    if threat.surface == "history":
        logits, embedded, gradient = trial.victim.history_gradient(batch)
        norms = embedded.norm(dim=2)
        return logits, gradient, float(norms[norms > 0].mean()) if bool((norms > 0).any()) else 0.0
    logits, gradient, _ = trial.victim.embedding_gradient(batch)
    return logits, gradient, trial.scale.norm


def unlimited_gate(trial: Trial, threat: EmbeddingThreat, attack: Attack, index: Tensor, rng: Randomness) -> Gate:
    """Next to nothing stands where the ball is many times as large as the embeddings themselves."""
    standing = index[trial.right[index]]
    budget = dataclasses.replace(Budget.of(threat, "high"), amount=UNLIMITED)
    left = 0.0
    if len(standing):
        found = run_attack(trial, attack, budget, standing, rng.child("unlimited"))
        left = float((~found.broken).sum()) / len(index)
    return Gate(
        name="falls-without-limits",
        threat=threat.id,
        passed=left <= LEFT_UNLIMITED,
        value=left,
        limit=LEFT_UNLIMITED,
        explanation=f"{left:.1%} stand where every embedding may move by {UNLIMITED:g} times its size, so that an "
        "attacker can show anything; what stands there was not attacked",
        remedy="look for gradients that are zero, lead the wrong way, or stop at a saturated operation",
    )
