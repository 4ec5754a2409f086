"""What each part of an input adds to its score: by deleting the part, and by integrated gradients.

Integrated gradients (Sundararajan et al. 2017) are Captum's, along the surface's continuous handle from the baseline 0
(vectors without content). Their sum must be the difference of the scores at the input and at the baseline
(completeness): the number of steps rises until it is, within TOLERANCE, and what is left of a difference is reported.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import PAD
from recgauntlet.evaluation.input_parts import InputParts
from recgauntlet.evaluation.judge import score_in_chunks

TOLERANCE = 0.01
"""How far the sum of integrated gradients may be from the difference of scores, relative to 1 + its size."""
STEPS = (32, 128, 512)
"""Steps of the integral: the next more where completeness does not hold."""
_ROWS = 64
"""Points of the path that are scored at once."""


@dataclass(frozen=True)
class IntegratedGradients:
    """Integrated gradients of the parts of an input.

    parts
        `[P]`: the sum over the vectors of each part.
    rest
        The sum over vectors of no part: special tokens and padding.
    baseline
        The score at the baseline.
    gap
        The sum of all attributions minus the difference of the scores: 0 where they are complete.
    steps
        Of the integral.
    complete
        Whether `gap` is within TOLERANCE.
    """

    parts: tuple[float, ...]
    rest: float
    baseline: float
    gap: float
    steps: int
    complete: bool


@dataclass(frozen=True)
class Attribution:
    """What the `P` parts of an input add to its score.

    labels
        `[P]`: their texts.
    score
        Of the input.
    deletion
        `[P]`: the score minus the score without the part; None where it cannot be left out, or the score without it is
        not a number.
    gradients
        None where the model's scores are random: the path of a sum has no one score at its ends.
    """

    labels: tuple[str, ...]
    score: float
    deletion: tuple[float | None, ...]
    gradients: IntegratedGradients | None


def attribute(model: Recommender, parts: InputParts, samples: int = 1) -> Attribution:
    """What the parts of an input add to its score, the mean of `samples` passes where the model is random.

    Raises
    ------
    PluginError
        Where Captum is not installed.
    """
    score = float(score_in_chunks(model, parts.one, samples))
    deletion: tuple[float | None, ...] = (None,) * len(parts.labels)
    if parts.can_be_deleted and parts.labels:
        without = score_in_chunks(model, parts.without_each(), samples).double()
        deletion = tuple(score - one if math.isfinite(one) else None for one in without.tolist())
    gradients = integrated_gradients(model, parts) if samples == 1 else None
    return Attribution(parts.labels, score, deletion, gradients)


def integrated_gradients(model: Recommender, parts: InputParts) -> IntegratedGradients:
    """Integrated gradients of the example of `parts`; PluginError where Captum is not installed."""
    method = captum_method()
    with torch.no_grad():
        handle = parts.embed(model).detach()
        ends = parts.score(model, torch.cat([torch.zeros_like(handle), handle])).double().tolist()

    def scores(embeddings: Tensor) -> Tensor:
        # the last term is 0 and joins the graph where a model reads nothing of the handle, or hides its gradients
        return parts.score(model, embeddings) + 0 * embeddings.sum(dim=(1, 2))

    found, gap, used, within = torch.zeros_like(handle), 0.0, 0, False
    for used in STEPS:
        found = method(scores).attribute(
            handle, torch.zeros_like(handle), n_steps=used, internal_batch_size=_ROWS, method="gausslegendre"
        )
        gap = float(found.double().sum()) - (ends[1] - ends[0])
        within = abs(gap) <= TOLERANCE * (1 + abs(ends[1] - ends[0]))
        if within:
            break
    of_vector = found.detach().double().sum(dim=2)[0].cpu()
    owner = parts.part_of_vector(model, len(of_vector))
    count = len(parts.labels)
    sums = torch.zeros(count + 1, dtype=torch.float64)
    sums.scatter_add_(0, torch.where(owner == PAD, count, owner), of_vector)
    *own, rest = sums.tolist()
    return IntegratedGradients(tuple(own), rest, ends[0], gap, used, within)


def captum_method() -> Any:
    """Captum's class of integrated gradients; PluginError where it is not installed."""
    try:
        return importlib.import_module("captum.attr").IntegratedGradients
    except ImportError as error:
        raise PluginError(
            "Captum is not installed", field="integrated gradients", remedy="pip install 'recgauntlet[explain]'"
        ) from error
