"""Robustness under one threat: the attacks one after the other, tier by tier, counted example by example.

The evaluator trusts no attack: it scores each returned input itself, and only inputs that the verifier finds legal
count. Attacks run on the examples that are still right (worst case per example, early exit), from the lowest tier to
the highest: what breaks an example inside a small budget is legal inside a larger one.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.suite import attacks_for
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import TIERS, Threat, Tier
from recgauntlet.core.errors import BudgetExceeded, RecGauntletError
from recgauntlet.core.journal import Journal
from recgauntlet.core.names import shown
from recgauntlet.core.protocol import SAME, UNSUCCESSFUL
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Edit, Progress
from recgauntlet.evaluation.judge import judged_scores, largest_difference, score_in_chunks
from recgauntlet.evaluation.results import AttackResult, ThreatResult, TierResult
from recgauntlet.evaluation.setup import Trial, attackable, is_right
from recgauntlet.records.schema import AttackEffort, Evidence
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding import EmbeddingThreatModel
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.verifier import verify

EVIDENCE_PER_ATTACK = 5
HALVINGS = 7
"""A smallest radius is exact to a share of 2 ** -7 of what was found."""


@dataclass(frozen=True)
class Attempt:
    """What one attack returned for `n` examples, judged by the evaluator."""

    perturbed: Batch
    scores: Tensor
    """`[n]`: the evaluator's own scores of `perturbed`."""
    broken: Tensor
    """`[n]`: legal and wrong."""
    violations: int
    """Inputs that the verifier refused."""
    effort: AttackEffort
    unlike_fresh: float
    """The largest difference to the scores of a fresh copy, relative to the spread of the clean scores."""
    error: str


def run_threat(
    trial: Trial,
    threat: Threat,
    rng: Randomness,
    *,
    extra: Sequence[Attack] = (),
    tiers: Sequence[Tier] = TIERS,
    journal: Journal | None = None,
    progress: Progress = lambda what, share: None,
) -> ThreatResult:
    """The tiers of one threat (rising) under the suite's attacks and then `extra` (transfer).

    Each attack at each tier is a step of `journal`. There are no tiers where the model does not read the surface.
    """
    if threat.surface not in trial.model.surfaces:
        return ThreatResult(threat=threat)
    trial = trial.under(threat).with_fresh_copy()
    journal = journal or Journal()
    standing = trial.right.clone()
    touched = attackable(threat, trial.batch)
    results: list[TierResult] = []
    for level, tier in enumerate(tiers):
        budget = Budget.of(threat, tier)
        suite = [attack for attack in (*attacks_for(threat), *extra) if attack.supports(budget)]
        attacks: list[AttackResult] = []
        for number, attack in enumerate(suite):
            progress(f"{threat.id}, {shown('tier', tier)}: {attack.name}", (level + number / len(suite)) / len(tiers))
            index = torch.nonzero(standing & touched).squeeze(1)
            if len(index) == 0:
                break
            key = step_key(threat, tier, attack)
            result = journal.found(key, AttackResult)
            if result is None:
                attempt = run_attack(trial, attack, budget, index, rng.child(key))
                result = _result(trial, budget, attack, index, attempt)
                journal.keep(key, result)
            standing &= ~torch.from_numpy(result.broken).to(standing.device)
            attacks.append(result)
        results.append(
            TierResult(
                tier=tier,
                amount=budget.amount,
                characters=budget.characters,
                queries=budget.queries,
                robust=standing.cpu().numpy().copy(),
                attacks=tuple(attacks),
            )
        )
    return ThreatResult(threat=threat, tiers=tuple(results))


def step_key(threat: Threat, tier: Tier, attack: Attack) -> str:
    """The name of one attack at one tier: its step in the journal and its stream of random numbers."""
    return f"{threat.id}/{tier}/{attack.name}"


def run_attack(trial: Trial, attack: Attack, budget: Budget, index: Tensor, rng: Randomness) -> Attempt:
    """Let `attack` try the examples at `index [n]` and judge what it returns.

    An attack that breaks its query budget, crashes, or returns what cannot be scored breaks nothing; its error is
    reported. Running out of memory is no result of the model, so it is raised.
    """
    batch = trial.batch.select(index)
    victim = trial.victim
    victim.reset(budget.queries)
    error = ""
    try:
        perturbed = attack.perturb(victim, batch, budget, rng)
        if len(perturbed) != len(batch):
            raise _Malformed(f"{len(perturbed)} examples returned for {len(batch)}")
        legal = verify(trial.world, trial.scale, budget, batch, perturbed).legal.to(batch.items.device)
        scores, unlike_fresh = _judge(trial, batch, perturbed, rng.child("judge"))
    except (RecGauntletError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as fault:  # an attack may fail in any way; what it returned is not used
        perturbed, error = batch, kind_and_place(fault)
        legal = torch.ones(len(batch), dtype=torch.bool, device=batch.items.device)
        scores, unlike_fresh = trial.scores[index], 0.0
    return Attempt(
        perturbed=perturbed,
        scores=scores,
        broken=legal & ~is_right(scores, batch),
        violations=int((~legal).sum()),
        effort=AttackEffort(**asdict(victim.effort)),
        unlike_fresh=unlike_fresh,
        error=error,
    )


def _judge(trial: Trial, clean: Batch, perturbed: Batch, rng: Randomness) -> tuple[Tensor, float]:
    """The scores `[n]` that count, and how far those of a fresh copy were from the model's, at most.

    The fresh copy scores every input that fools the model and UNSUCCESSFUL of the others; where it has a score, that
    counts. A random model is asked `samples` times instead.
    """
    if trial.samples > 1:
        return score_in_chunks(trial.model, perturbed, trial.samples), 0.0
    scores = judged_scores(trial.model, perturbed, clean, rng)
    if trial.fresh is None:
        return scores, 0.0
    stands = is_right(scores, clean)
    again = torch.cat([torch.nonzero(~stands), torch.nonzero(stands)[:UNSUCCESSFUL]]).squeeze(1)
    if not len(again):
        return scores, 0.0
    fresh = judged_scores(trial.fresh, perturbed.select(again), None, rng.child("fresh"))
    gap = largest_difference(scores[again], fresh, float(trial.scores.double().std()))
    return (scores if gap <= SAME else scores.index_copy(0, again, fresh)), gap


def broken_by(
    trial: Trial, budget: Budget, attacks: Sequence[Attack], index: Tensor, within: Tensor, rng: Randomness
) -> Tensor:
    """`[K]`: which of the examples at `index [K]` that `within [K]` marks the attacks break, one after the other."""
    broken = torch.zeros_like(within)
    for attack in attacks:
        rows = torch.nonzero(within & ~broken).squeeze(1)
        if len(rows) and attack.supports(budget):
            broken[rows] = run_attack(trial, attack, budget, index[rows], rng.child(attack.name)).broken
    return broken


class _Malformed(ValueError):  # noqa: N818  as BudgetExceeded
    """What an attack returned does not have the form of a batch."""


def kind_and_place(fault: Exception) -> str:
    """An exception without its message, which may quote texts that a record must not carry."""
    if isinstance(fault, (_Malformed, BudgetExceeded)):
        return f"{type(fault).__name__.lstrip('_')}: {fault}"
    frames = traceback.extract_tb(fault.__traceback__)[-2:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(fault).__name__} (at {places})"


def _result(trial: Trial, budget: Budget, attack: Attack, index: Tensor, attempt: Attempt) -> AttackResult:
    broken = torch.nonzero(attempt.broken).squeeze(1)
    # a change of embeddings has no edits that could be read
    is_discrete = threat_model(budget.threat).is_discrete
    shown = broken.tolist()[:EVIDENCE_PER_ATTACK] if is_discrete else []
    return AttackResult(
        name=attack.name,
        hyperparameters=attack.hyperparameters(),
        attacked=trial.mask(index),
        broken=trial.mask(index[broken]),
        scores=attempt.scores.cpu().numpy(),
        radii=np.zeros(0, np.float32) if is_discrete else smallest_radii(trial, budget, index, attempt).cpu().numpy(),
        violations=attempt.violations,
        effort=attempt.effort,
        unlike_fresh=attempt.unlike_fresh,
        error=attempt.error,
        evidence=evidence_of(trial, budget, attack.name, index, attempt, shown),
        edits=text_edits_of(trial, budget, index, attempt),
    )


def text_edits_of(trial: Trial, budget: Budget, index: Tensor, attempt: Attempt) -> tuple[tuple[Edit, ...], ...]:
    """The edits of each example that the attempt at `index [n]` broke, where texts are edited; else none."""
    threat = threat_model(budget.threat)
    if not threat.edits_text:
        return ()
    clean, rows = trial.batch.select(index), torch.nonzero(attempt.broken).squeeze(1).tolist()
    return tuple(threat.edits(trial.world.catalog, clean, attempt.perturbed, row) for row in rows)


def smallest_radii(trial: Trial, budget: Budget, index: Tensor, attempt: Attempt) -> Tensor:
    """`[n]`: the smallest relative radius at which the change found for each of the examples at `index [n]` still
    fools the model when it is scaled down, by bisection; infinite where the attempt broke nothing."""
    radii = torch.full((len(index),), torch.inf, device=index.device)
    rows = torch.nonzero(attempt.broken).squeeze(1)
    if not len(rows):
        return radii
    found = attempt.perturbed.select(rows)
    clean = trial.batch.select(index[rows])
    delta = torch.zeros(0) if found.delta is None else found.delta
    right, wrong = torch.zeros(len(rows), device=delta.device), torch.ones(len(rows), device=delta.device)
    for _ in range(HALVINGS):
        share = (right + wrong) / 2
        scores = score_in_chunks(trial.model, clean.with_delta(delta * share[:, None, None]), trial.samples)
        stands = is_right(scores, clean)
        right, wrong = torch.where(stands, share, right), torch.where(stands, wrong, share)
    radii[rows] = wrong * EmbeddingThreatModel.of(budget).relative_size(delta, trial.scale)
    return radii


def evidence_of(
    trial: Trial, budget: Budget, attack: str, index: Tensor, attempt: Attempt, rows: Sequence[int]
) -> tuple[Evidence, ...]:
    """The perturbed inputs at `rows` of the attempt, as edits of the clean examples at `index [n]`."""
    clean, listed = trial.batch.select(index), trial.listed or trial
    return tuple(
        Evidence(
            threat=budget.threat.id,
            tier=budget.tier,
            attack=attack,
            example=int(index[row]),
            edits=threat_model(budget.threat).edits(trial.world.catalog, clean, attempt.perturbed, row),
            clean_score=float(listed.scores[index[row]]),
            score=float(attempt.scores[row]),
        )
        for row in rows
    )
