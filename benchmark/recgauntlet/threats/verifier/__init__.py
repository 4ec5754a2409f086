"""The verifier: checks by alignment, from the inputs alone, that a perturbed batch keeps to a threat and its
budget.

It imports nothing of the attacks and trusts nothing they say. The rules, surface by surface:

- everything but the threat's surface is untouched: the same examples in the same order, users, items, labels,
  and the other two surfaces;
- embedding: every value is finite; the L2 norm of an example's whole delta (or its largest element) is at
  most `amount` times the model's own scale, to a relative 1e-4;
- candidate-text: see `recgauntlet.threats.verifier.text`;
- history: see `recgauntlet.threats.verifier.history`.

The unchanged input is always legal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.card import EmbeddingThreat, HistoryThreat, TextThreat
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding_scale import EmbeddingScale
from recgauntlet.threats.knowledge import World
from recgauntlet.threats.verifier.history import history_fault
from recgauntlet.threats.verifier.text import text_fault

TOLERANCE = 1e-4
"""Relative slack on a norm, for rounding."""


@dataclass(frozen=True)
class Verdict:
    """Whether each of `B` perturbed inputs is legal, `[B]` bool on the CPU, and why not (empty where it
    is)."""

    legal: Tensor
    reasons: tuple[str, ...]


def verify(world: World, scale: EmbeddingScale, budget: Budget, clean: Batch, perturbed: Batch) -> Verdict:
    """Check `perturbed` against `clean` example by example; a batch of another shape is illegal as a
    whole."""
    clean, perturbed = clean.to(torch.device("cpu")), perturbed.to(torch.device("cpu"))
    broken = _shape_fault(clean, perturbed)
    if broken:
        return Verdict(torch.zeros(len(clean), dtype=torch.bool), (broken,) * len(clean))
    reasons = _surroundings(world, budget, clean, perturbed)
    threat = budget.threat
    if isinstance(threat, EmbeddingThreat):
        found = _delta_faults(threat, budget.amount, scale, clean, perturbed)
    elif isinstance(threat, TextThreat):
        pairs = zip(_texts(world, clean), _texts(world, perturbed), strict=True)
        found = [text_fault(world.lexicon, threat, budget, *pair) for pair in pairs]
    else:
        found = _history_faults(world, threat, budget, clean, perturbed)
    reasons = [first or second for first, second in zip(reasons, found, strict=True)]
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


def _surroundings(world: World, budget: Budget, clean: Batch, perturbed: Batch) -> list[str]:
    """For each example, the first thing that changed outside the threat's surface."""
    surface = budget.threat.surface
    reasons = [""] * len(clean)

    def note(changed: Tensor, reason: str) -> None:
        for b in torch.nonzero(changed).flatten().tolist():
            reasons[b] = reasons[b] or reason

    note(perturbed.example_ids != clean.example_ids, "the example changed")
    note(perturbed.items != clean.items, "the candidate changed")
    note(perturbed.labels != clean.labels, "the label changed")
    note(perturbed.users.ids[perturbed.rows] != clean.users.ids[clean.rows], "the user changed")
    if surface != "history":
        note((perturbed.histories() != clean.histories()).any(dim=1), "the history changed")
    if surface != "candidate-text" and perturbed.texts != clean.texts:
        pairs = zip(_texts(world, clean), _texts(world, perturbed), strict=True)
        note(torch.tensor([a != b for a, b in pairs], dtype=torch.bool), "the text changed")
    if surface != "embedding":
        note(_moved(clean, perturbed).ne(0).flatten(1).any(dim=1), "the embeddings changed")
    return reasons


def _texts(world: World, batch: Batch) -> tuple[str, ...]:
    """The texts as shown."""
    if batch.texts is not None:
        return batch.texts
    return tuple(world.catalog.texts[i] for i in batch.items.tolist())


def _moved(clean: Batch, perturbed: Batch) -> Tensor:
    """`[B, L, D]`: what the perturbed batch adds to the embeddings beyond the clean one; `[B, 1, 1]` zeros if
    nothing."""
    deltas = [batch.delta for batch in (perturbed, clean)]
    known = [delta for delta in deltas if delta is not None]
    if not known:
        return torch.zeros((len(clean), 1, 1))
    width, size = max(d.shape[1] for d in known), max(d.shape[2] for d in known)
    total = torch.zeros((len(clean), width, size), dtype=torch.float64)
    for delta, sign in zip(deltas, (1.0, -1.0), strict=True):
        if delta is not None:
            total[:, : delta.shape[1], : delta.shape[2]] += sign * delta.double()
    return total


def _delta_faults(
    threat: EmbeddingThreat, amount: float, scale: EmbeddingScale, clean: Batch, perturbed: Batch
) -> list[str]:
    moved = _moved(clean, perturbed).flatten(1)
    if threat.norm == "l2":
        size, radius = moved.norm(dim=1), amount * scale.norm
    else:
        size, radius = moved.abs().amax(dim=1), amount * scale.rms
    out = []
    for finite, value in zip(torch.isfinite(moved).all(dim=1).tolist(), size.tolist(), strict=True):
        if not finite:
            out.append("the embedding change is not finite")
        elif value > radius * (1 + TOLERANCE):
            out.append(f"the {threat.norm} norm of the embedding change is {value:.6g}, more than {radius:.6g}")
        else:
            out.append("")
    return out


def _history_faults(world: World, threat: HistoryThreat, budget: Budget, clean: Batch, perturbed: Batch) -> list[str]:
    before, after = clean.histories(), perturbed.histories()
    changed = (before != after).any(dim=1).tolist()
    return [
        history_fault(world.item_vectors, threat, int(budget.amount), before[b].tolist(), after[b].tolist())
        if changed[b]
        else ""
        for b in range(len(clean))
    ]
