"""Checking the evidence of a best known attack: every perturbed input is rebuilt, verified and scored again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from recgauntlet.core.batch import Batch
from recgauntlet.core.card import Tier
from recgauntlet.core.errors import RecordError
from recgauntlet.core.types import FloatArray, Progress
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.setup import Trial, attackable, is_right
from recgauntlet.records.best_known import BestKnown, Challenge
from recgauntlet.records.schema import Evidence
from recgauntlet.runner.challenge import OpenChallenge, open_challenged
from recgauntlet.runner.trained import Setup, host_of
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding_scale import EmbeddingScale
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.verifier import verify

TOLERANCE = 1e-3
"""How far a score may lie from the one in the file, relative to 1 + its size: rounding on another machine."""


class Mismatch(NamedTuple):
    """An entry of evidence that does not check out."""

    example: int
    threat: str
    tier: Tier
    reason: str


class Checked(NamedTuple):
    """What became of the evidence: how many entries there are, and all that do not check out."""

    entries: int
    mismatches: tuple[Mismatch, ...]


def recheck(
    found: BestKnown,
    checkpoint: Path,
    setup: Setup,
    *,
    tolerance: float = TOLERANCE,
    progress: Progress = lambda what, share: None,
) -> Checked:
    """Rebuild every perturbed input from the evidence alone, beside the data, verify it and score it. Code of plugins
    runs in processes of its own.

    Raises
    ------
    RecordError
        Where the weights or the data are not those that the file speaks of. Entries that do not check out are returned.
    """
    mismatches: list[Mismatch] = []
    with host_of(checkpoint, setup) as host:
        opened = open_challenged(found.challenged, checkpoint, setup, progress, host)
        trial = opened.trial
        for number, outcome in enumerate(found.outcomes):
            progress(f"{outcome.threat}, {outcome.tier}", number / len(found.outcomes))
            entries = found.evidence_of(outcome)
            if entries:
                _check_fits(outcome, opened, checkpoint)
                budget = Budget.of(opened.threats[outcome.threat], outcome.tier)
                reasons = _reasons(trial, budget, outcome, entries, tolerance)
                pairs = zip(entries, reasons, strict=True)
                mismatches += [Mismatch(e.example, e.threat, e.tier, reason) for e, reason in pairs if reason]
    progress("done", 1.0)
    return Checked(len(found.evidence), tuple(mismatches))


def rebuild(
    world: AttackerKnowledge,
    scale: EmbeddingScale,
    budget: Budget,
    clean: Batch,
    entries: Sequence[Evidence],
    deltas: FloatArray | None = None,
) -> tuple[Batch, list[str]]:
    """The perturbed inputs that `entries` make of `clean`, and why each is illegal; empty where it is legal.

    `deltas [B, L, D]` are the changes of embeddings, where evidence keeps them instead of edits.
    """
    model, catalog = threat_model(budget.threat), world.catalog
    faults = [model.edit_fault(catalog, clean, row, entry.edits) for row, entry in enumerate(entries)]
    if deltas is not None:
        perturbed = clean.with_delta(torch.from_numpy(deltas).to(clean.items.device))
    else:
        edits = [() if fault else entry.edits for fault, entry in zip(faults, entries, strict=True)]
        perturbed = model.rebuilt(catalog, clean, edits)
    reasons, may = verify(world, scale, budget, clean, perturbed).reasons, attackable(budget.threat, clean).tolist()
    untouched = "the threat does not touch this candidate"
    found = zip(faults, reasons, may, strict=True)
    return perturbed, [fault or reason or ("" if touches else untouched) for fault, reason, touches in found]


def _reasons(
    trial: Trial, budget: Budget, outcome: Challenge, entries: Sequence[Evidence], tolerance: float
) -> list[str]:
    """For each entry why it does not check out; empty where it does."""
    trial = trial.under(budget.threat)
    index = torch.tensor([entry.example for entry in entries], device=trial.batch.items.device)
    clean, listed = trial.batch.select(index), trial.listed or trial
    deltas = outcome.deltas.unfold() if outcome.deltas is not None else None
    perturbed, faults = rebuild(trial.world, trial.scale, budget, clean, entries, deltas)
    scores = score_in_chunks(trial.model, perturbed, trial.samples)
    fools, now, before = ~is_right(scores, clean), scores.tolist(), listed.scores[index].tolist()
    right = trial.right[index]
    reasons = []
    for row, entry in enumerate(entries):
        reason = ""
        if faults[row]:
            reason = f"illegal: {faults[row]}"
        elif not right[row]:
            reason = "the model is wrong on the clean input already"
        elif not fools[row]:
            reason = f"does not fool the model: its score is {now[row]:.6g}, the file says {entry.score:.6g}"
        elif not (_same(now[row], entry.score, tolerance) and _same(before[row], entry.clean_score, tolerance)):
            reason = (
                f"scores differ: {before[row]:.6g} clean and {now[row]:.6g} perturbed, "
                f"the file says {entry.clean_score:.6g} and {entry.score:.6g}"
            )
        reasons.append(reason)
    return reasons


def _same(first: float, second: float, tolerance: float) -> bool:
    return first == second or abs(first - second) <= tolerance * (1 + abs(second))


def _check_fits(outcome: Challenge, opened: OpenChallenge, checkpoint: Path) -> None:
    """RecordError if an outcome names a threat or examples that the task does not have."""
    threat = opened.threats.get(outcome.threat)
    if threat is None or threat.surface != outcome.surface or outcome.broken.n != len(opened.trial.batch):
        raise RecordError(
            f"the evidence is of {outcome.broken.n} examples under {outcome.threat} ({outcome.surface}), "
            f"the task has {len(opened.trial.batch)} examples and the threats {', '.join(opened.threats)}",
            where=checkpoint,
            field=f"outcomes.{outcome.threat}.{outcome.tier}",
            remedy="restore the file of the best known attack from where it was published",
        )
