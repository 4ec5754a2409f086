"""How the evaluator scores: so that a model can neither tell what a score is asked for nor answer from memory.

Scores are asked for in a thread of its own and without labels, so that no caller of the model holds what the evaluation
knows. What an attack returned is asked for in random order, in batches of random size, among clean inputs of the same
examples and repeated ones; and again from a fresh copy of the model, which no attack has asked.
"""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.protocol import AMONG_CLEAN, REPEATED
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import score_batch

CHUNK = 512
"""The most inputs in one batch."""


def fresh_copy(model: Recommender) -> Recommender:
    """The model as it is now: a copy with weights and state of its own. Catalog and origin, which are constant, are
    shared."""
    constant = (model.catalog, model.origin)
    return copy.deepcopy(model, {id(part): part for part in constant})


def sealed_scores(model: Recommender, batch: Batch) -> Tensor:
    """Logits `[B]`, computed where nothing but the inputs can be found: labels and example ids are 0, and the call
    stack begins with a thread."""
    blank = replace(
        batch, labels=torch.zeros_like(batch.labels), example_ids=torch.zeros_like(batch.example_ids)
    )  # example ids are even where the candidate was clicked
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(score_batch, model, blank).result()


def score_in_chunks(model: Recommender, batch: Batch, samples: int = 1, chunk: int = CHUNK) -> Tensor:
    """Logits `[B]` on the model's device, the mean of `samples` passes; each chunk carries its own users only."""
    if samples > 1:
        return torch.stack([score_in_chunks(model, batch, 1, chunk) for _ in range(samples)]).mean(dim=0)
    if not len(batch):  # a model need not know what to do with no examples
        return torch.zeros(0, device=batch.items.device)
    if len(batch) <= chunk:
        return sealed_scores(model, batch)
    rows = torch.arange(len(batch), device=batch.items.device)
    return torch.cat([sealed_scores(model, with_own_users(batch.select(part))) for part in torch.split(rows, chunk)])


def with_own_users(batch: Batch) -> Batch:
    """The same batch without the users that no example has."""
    used, rows = torch.unique(batch.rows, return_inverse=True)
    return replace(batch, users=batch.users.select(used), rows=rows)


def judged_scores(model: Recommender, perturbed: Batch, clean: Batch | None, rng: Randomness) -> Tensor:
    """Logits `[B]` of `perturbed`, asked for in random order and batches of random size, some of them twice, among
    inputs of `clean` (the same examples; None for none)."""
    draw, count = rng.numpy(), len(perturbed)
    asked = [np.arange(count), draw.integers(count, size=int(REPEATED * count))]
    batch = perturbed
    if clean is not None and (clean.texts is None) == (perturbed.texts is None):
        others = torch.from_numpy(draw.integers(count, size=int(AMONG_CLEAN * count))).to(perturbed.items.device)
        batch = perturbed.joined(_in_form_of(perturbed, clean).select(others))
        asked.append(np.arange(count, len(batch)))
    order = torch.from_numpy(draw.permutation(np.concatenate(asked))).to(perturbed.items.device)
    scores = torch.zeros(len(batch), device=perturbed.items.device)
    while len(order):
        size = int(draw.integers(1, CHUNK + 1))
        part, order = order[:size], order[size:]
        scores[part] = sealed_scores(model, with_own_users(batch.select(part)))
    return scores[:count]


def largest_difference(first: Tensor, second: Tensor, spread: float) -> float:
    """Between two scores of the same inputs, relative to `spread`; infinite where one alone is no number."""
    first, second = first.double().cpu(), second.double().cpu()
    gap = torch.where(first.isfinite() | second.isfinite(), (first - second).abs(), 0.0)
    gap = torch.nan_to_num(gap, nan=torch.inf)
    return float(gap.max()) / max(spread, 1e-300) if len(gap) else 0.0


def _in_form_of(perturbed: Batch, clean: Batch) -> Batch:
    """Clean inputs that look like the perturbed ones to a model: with a change of embeddings of 0."""
    return clean if perturbed.delta is None else clean.with_delta(torch.zeros_like(perturbed.delta))
