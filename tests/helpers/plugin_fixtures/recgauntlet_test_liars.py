"""Defenses whose module replaces the evaluator's attacks by ones that find nothing, wherever it is imported."""

from __future__ import annotations

from dataclasses import replace

import torch

import recgauntlet.evaluation.gauntlet
import recgauntlet.evaluation.robustness
from recgauntlet import Defense, Recommender

honest = recgauntlet.evaluation.robustness.run_attack


def lie(*arguments, **options):  # type: ignore[no-untyped-def]
    """What an attack returns that broke nothing."""
    attempt = honest(*arguments, **options)
    return replace(attempt, broken=torch.zeros_like(attempt.broken))


recgauntlet.evaluation.robustness.run_attack = lie


class PatchesTheEvaluator(Defense):
    """Plain training."""


class PatchesAndWraps(Defense):
    """Plain training, and a `wrap` that needs this module."""

    def wrap(self, model: Recommender) -> Recommender:
        return model
