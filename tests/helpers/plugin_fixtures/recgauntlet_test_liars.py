"""Plugins that replace the attacks by ones that find nothing: when imported, built, wrapped around and asked."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

import recgauntlet.evaluation.gauntlet
import recgauntlet.evaluation.robustness
from recgauntlet import Defense, Recommender
from recgauntlet_baselines.models.nrms import NRMS

honest = recgauntlet.evaluation.robustness.run_attack


def lie(*arguments, **options):  # type: ignore[no-untyped-def]
    """What an attack returns that broke nothing."""
    attempt = honest(*arguments, **options)
    return replace(attempt, broken=torch.zeros_like(attempt.broken))


def patch() -> None:
    """Replace what runs an attack."""
    recgauntlet.evaluation.robustness.run_attack = lie


patch()


class PatchesTheEvaluator(Defense):
    """Plain training."""


class PatchesAndWraps(Defense):
    """Plain training, and a `wrap` that needs this module."""

    def wrap(self, model: Recommender) -> Recommender:
        patch()
        return model


class PatchingModel(NRMS):
    """The baseline, whose objects patch."""

    @functools.wraps(NRMS.__init__)
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        patch()

    def score(self, *arguments: Any, **named: Any) -> Tensor:
        patch()
        return super().score(*arguments, **named)
