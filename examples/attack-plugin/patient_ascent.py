"""An attack plugin for RecGauntlet: gradient ascent on the candidate's embeddings for as long as the queries last."""

from __future__ import annotations

import torch

from recgauntlet import Attack, Batch, Budget, Randomness, Victim


class PatientAscent(Attack):
    """Steepest ascent in the L2 ball, each step `shrink` times the one before; the worst point on the way counts."""

    name = "patient-ascent"
    surface = "embedding"

    def __init__(self, *, shrink: float = 0.95) -> None:
        self.shrink = shrink

    def supports(self, budget: Budget) -> bool:
        return getattr(budget.threat, "norm", "") == "l2"

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        radius, wrong_side = budget.amount * victim.scale.norm, 1 - 2 * batch.labels
        worst = torch.full_like(batch.labels, -torch.inf)
        delta = found = torch.zeros(1)
        for step in range(budget.queries):  # a gradient is one query of its example
            logits, gradient, _ = victim.embedding_gradient(batch if step == 0 else batch.with_delta(delta))
            delta = torch.zeros_like(gradient) if step == 0 else delta
            worse = wrong_side * logits > worst
            worst = torch.where(worse, wrong_side * logits, worst)
            found = delta.clone() if step == 0 else torch.where(worse[:, None, None], delta, found)
            uphill = torch.nn.functional.normalize(gradient.flatten(1), dim=1).view_as(gradient)
            delta = delta + radius * self.shrink**step * wrong_side[:, None, None] * uphill
            delta = delta * (radius / delta.flatten(1).norm(dim=1).clamp(min=radius))[:, None, None]
        return batch.with_delta(found)
