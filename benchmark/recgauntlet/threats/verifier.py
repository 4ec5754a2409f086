"""The verifier: checks by alignment, from the inputs alone, that a perturbed batch keeps to a threat and its budget.

It imports nothing of the attacks and trusts nothing that they return. Everything but the threat's surface must be
untouched: the same examples in the same order, users, items, labels, and the other surfaces. What may change on the
surface itself is the rule of its threat model: `recgauntlet.threats.embedding`, `.text` and `.history`. The unchanged
input is always legal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.types import Surface
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding_scale import EmbeddingScale
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.registry import THREAT_MODELS, threat_model

_CHANGED: dict[Surface, str] = {
    "history": "the history changed",
    "candidate-text": "the text changed",
    "embedding": "the embeddings changed",
}


@dataclass(frozen=True)
class Verdict:
    """Whether each of `B` perturbed inputs is legal, `[B]` bool on the CPU, and why not (empty where it is)."""

    legal: Tensor
    reasons: tuple[str, ...]


def verify(world: AttackerKnowledge, scale: EmbeddingScale, budget: Budget, clean: Batch, perturbed: Batch) -> Verdict:
    """Check `perturbed` against `clean` example by example; a batch of another shape is illegal as a whole."""
    clean, perturbed = clean.to(torch.device("cpu")), perturbed.to(torch.device("cpu"))
    broken = _shape_fault(clean, perturbed)
    if broken:
        return Verdict(torch.zeros(len(clean), dtype=torch.bool), (broken,) * len(clean))
    outside = _surroundings(world, budget, clean, perturbed)
    found = threat_model(budget.threat).faults(world, scale, budget, clean, perturbed)
    reasons = [first or second for first, second in zip(outside, found, strict=True)]
    return Verdict(torch.tensor([not reason for reason in reasons], dtype=torch.bool), tuple(reasons))


def _shape_fault(clean: Batch, perturbed: Batch) -> str:
    size = len(clean)
    parts = (perturbed.items, perturbed.rows, perturbed.labels, perturbed.example_ids)
    if any(part.shape != (size,) for part in parts):
        return "the number of examples changed"
    if perturbed.texts is not None and len(perturbed.texts) != size:
        return "the number of texts is not the number of examples"
    if size and not 0 <= int(perturbed.rows.min()) <= int(perturbed.rows.max()) < len(perturbed.users):
        return "a row names a user that is not there"
    if perturbed.histories().shape != clean.histories().shape:
        return "the width of the histories changed"
    if perturbed.delta is not None and (perturbed.delta.dim() != 3 or len(perturbed.delta) != size):
        return "the embedding change is not of shape [B, L, D]"
    return ""


def _surroundings(world: AttackerKnowledge, budget: Budget, clean: Batch, perturbed: Batch) -> list[str]:
    """For each example, the first thing that changed outside the threat's surface."""
    reasons = [""] * len(clean)

    def note(changed: Tensor, reason: str) -> None:
        for b in torch.nonzero(changed).flatten().tolist():
            reasons[b] = reasons[b] or reason

    note(perturbed.example_ids != clean.example_ids, "the example changed")
    note(perturbed.items != clean.items, "the candidate changed")
    note(perturbed.labels != clean.labels, "the label changed")
    note(perturbed.users.ids[perturbed.rows] != clean.users.ids[clean.rows], "the user changed")
    for surface, reason in _CHANGED.items():
        if surface != budget.threat.surface:
            note(THREAT_MODELS[surface].changed(world.catalog, clean, perturbed), reason)
    return reasons
