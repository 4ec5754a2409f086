"""What a trained model is worth: clean, and after every attack of every threat, counted example by example.

The evaluator believes no attack: it scores each returned input itself, and only inputs that the verifier finds legal
count. Per threat the attacks run one after the other on the examples that still stand (worst case per example, early
exit), from the lowest tier to the highest: what breaks an example inside a small budget is legal inside a larger one.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.suite import attacks_for
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import TIERS, TaskCard, Threat, Tier
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import BudgetExceeded, RecGauntletError
from recgauntlet.core.journal import Journal
from recgauntlet.core.protocol import SAME, SAMPLES
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.types import BoolArray, Progress
from recgauntlet.data.batches import impressions_to_batch, pairs_to_batch
from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.schema import AttackEffort, AttackOutcome, Clean, Evidence, ThreatOutcome, TierOutcome
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding_scale import EmbeddingScale, embedding_scale
from recgauntlet.threats.knowledge import World
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.verifier import verify
from recgauntlet.threats.victim import Victim

EVIDENCE_PER_ATTACK = 5


@dataclass(frozen=True)
class Trial:
    """A model ready to be attacked: the test examples, their clean scores `[B]`, and where they are right `[B]`.

    One `victim` serves all attacks, so that the users are encoded once in the whole evaluation. `samples` is 1, or the
    number of passes whose mean counts as a score where the model is random.
    """

    model: Recommender
    world: World
    scale: EmbeddingScale
    victim: Victim
    batch: Batch
    scores: Tensor
    right: Tensor
    samples: int = 1

    @classmethod
    def of(cls, model: Recommender, data: TaskData, world: World) -> Trial:
        """Score the test pairs of `data`."""
        batch = pairs_to_batch(data.test, np.arange(len(data.test))).to(model.device)
        samples = SAMPLES if is_random(model, batch) else 1
        scores = score_in_chunks(model, batch, samples)
        scale = embedding_scale(model, data.catalog)
        victim = Victim(model, world, scale, batch, samples=samples)
        victim.prepare()
        return cls(model, world, scale, victim, batch, scores, is_right(scores, batch), samples)


@dataclass(frozen=True)
class Found:
    """What one attack came to on `n` examples: the perturbed batch, the evaluator's scores `[n]`, and which are
    legal and wrong `[n]`."""

    perturbed: Batch
    scores: Tensor
    broken: Tensor
    violations: int
    effort: AttackEffort
    error: str


def is_right(scores: Tensor, batch: Batch) -> Tensor:
    """`[B]`: the score is a number on its label's side of 0; 0 itself predicts "not clicked"."""
    return ((scores > 0) == (batch.labels > 0.5)) & torch.isfinite(scores)


def score_in_chunks(model: Recommender, batch: Batch, samples: int = 1, chunk: int = 512) -> Tensor:
    """Logits `[B]` on the model's device, the mean of `samples` passes; each chunk carries its own users only."""
    if samples > 1:
        return torch.stack([score_in_chunks(model, batch, 1, chunk) for _ in range(samples)]).mean(dim=0)
    if len(batch) <= chunk:
        return score_batch(model, batch)
    parts = []
    for start in range(0, len(batch), chunk):
        index = torch.arange(start, min(start + chunk, len(batch)), device=batch.items.device)
        part = batch.select(index)
        used, rows = torch.unique(part.rows, return_inverse=True)
        parts.append(score_batch(model, replace(part, users=part.users.select(used), rows=rows)))
    return torch.cat(parts)


def is_random(model: Recommender, batch: Batch) -> bool:
    """Whether scoring the first examples twice gives different scores."""
    few = batch.select(torch.arange(min(64, len(batch)), device=batch.items.device))
    first, second = score_batch(model, few), score_batch(model, few)
    return bool(torch.isfinite(first).all()) and change(first, second) > SAME


def change(before: Tensor, after: Tensor) -> float:
    """The largest change, relative to the standard deviation of `before`; infinite where either is not a number."""
    before, after = before.double().cpu(), after.double().cpu()
    if not (torch.isfinite(before).all() and torch.isfinite(after).all()):
        return float("inf")
    # logits may be tiny: no floor that would hide their noise
    spread = max(float(before.std()) if len(before) > 1 else 0.0, 1e-300)
    return float((before - after).abs().max()) / spread if len(before) else 0.0


def measure_clean(trial: Trial, data: TaskData) -> Clean:
    """Scores of the test pairs and of the test impressions."""
    impressions = data.impressions
    scores = []
    for start in range(0, len(impressions), 64):
        batch = impressions_to_batch(impressions, np.arange(start, min(start + 64, len(impressions))))
        scores.append(score_batch(trial.model, batch.to(trial.model.device)).cpu().numpy())
    return Clean(
        labels=BitColumn.of(trial.batch.labels.cpu().numpy() > 0.5),
        scores=FloatColumn.of(trial.scores.cpu().numpy()),
        impression_sizes=tuple(np.diff(impressions.offsets).tolist()),
        impression_users=tuple(impressions.users.tolist()),
        impression_labels=BitColumn.of(impressions.labels),
        impression_scores=FloatColumn.of(np.concatenate(scores)),
    )


def run_attack(trial: Trial, attack: Attack, budget: Budget, index: Tensor, rng: Randomness) -> Found:
    """Let `attack` try the examples at `index [n]` and judge what it returns.

    An attack that breaks its query budget, crashes, or returns what cannot be scored finds nothing; its error is
    reported. Running out of memory says nothing about the model, so it is raised.
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
        scores = score_in_chunks(trial.model, perturbed, trial.samples)
    except (RecGauntletError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as fault:  # an attack may fail in any way; what it returned is not used
        perturbed, error = batch, _without_its_text(fault)
        legal = torch.ones(len(batch), dtype=torch.bool, device=batch.items.device)
        scores = trial.scores[index]
    return Found(
        perturbed=perturbed,
        scores=scores,
        broken=legal & ~is_right(scores, batch),
        violations=int((~legal).sum()),
        effort=AttackEffort(**asdict(victim.effort)),
        error=error,
    )


class _Malformed(ValueError):  # noqa: N818  as BudgetExceeded
    """What an attack returned has not the form of a batch."""


def _without_its_text(fault: Exception) -> str:
    """An exception by its kind and place: a stranger's message may quote texts that a record must not carry."""
    if isinstance(fault, (_Malformed, BudgetExceeded)):
        return f"{type(fault).__name__.lstrip('_')}: {fault}"
    frames = traceback.extract_tb(fault.__traceback__)[-2:]
    places = " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(fault).__name__} (at {places})"


def attackable(threat: Threat, batch: Batch) -> Tensor:
    """`[B]`: the examples whose candidate the attacker would touch: all, or those not clicked where it promotes."""
    return batch.labels < 0.5 if threat.goal == "promote" else torch.ones_like(batch.labels, dtype=torch.bool)


class Step(BaseModel):
    """One attack at one tier, as a journal keeps it."""

    outcome: AttackOutcome
    evidence: tuple[Evidence, ...]


def run_threat(
    trial: Trial,
    threat: Threat,
    rng: Randomness,
    *,
    extra: Sequence[Attack] = (),
    tiers: Sequence[Tier] = TIERS,
    journal: Journal | None = None,
    progress: Progress = lambda what, share: None,
) -> tuple[ThreatOutcome, tuple[Evidence, ...]]:
    """The tiers of one threat (rising) under the suite's attacks and then `extra` (transfer)."""
    if threat.surface not in trial.model.surfaces:
        return ThreatOutcome(
            id=threat.id,
            surface=threat.surface,
            goal=threat.goal,
            ranked=threat.ranked,
            applicable=False,
            tiers=(),
        ), ()
    journal = journal or Journal()
    standing = trial.right.clone()
    touched = attackable(threat, trial.batch)
    outcomes_by_tier: list[TierOutcome] = []
    evidence: list[Evidence] = []
    for level, tier in enumerate(tiers):
        budget = Budget.of(threat, tier)
        suite = [attack for attack in (*attacks_for(threat), *extra) if attack.supports(budget)]
        outcomes: list[AttackOutcome] = []
        for number, attack in enumerate(suite):
            progress(f"{threat.id}, {tier}: {attack.name}", (level + number / len(suite)) / len(tiers))
            index = torch.nonzero(standing & touched).squeeze(1)
            if len(index) == 0:
                break
            key = f"{threat.id}/{tier}/{attack.name}"

            def compute(
                attack: Attack = attack, budget: Budget = budget, index: Tensor = index, key: str = key
            ) -> Step:
                found = run_attack(trial, attack, budget, index, rng.child(key))
                outcome = _outcome(attack, trial, index, found)
                return Step(outcome=outcome, evidence=_evidence(trial, threat, budget, attack, index, found))

            step = journal.do(key, Step, compute)
            standing &= ~torch.from_numpy(step.outcome.broken.to_bool()).to(standing.device)
            outcomes.append(step.outcome)
            evidence += step.evidence
        outcomes_by_tier.append(
            TierOutcome(
                tier=tier,
                amount=budget.amount,
                characters=budget.characters,
                queries=budget.queries,
                robust=BitColumn.of(standing.cpu().numpy()),
                attacks=tuple(outcomes),
            )
        )
    return ThreatOutcome(
        id=threat.id,
        surface=threat.surface,
        goal=threat.goal,
        ranked=threat.ranked,
        applicable=True,
        tiers=tuple(outcomes_by_tier),
    ), tuple(evidence)


def run_threats(
    trial: Trial,
    card: TaskCard,
    rng: Randomness,
    *,
    extra: Callable[[Threat], Sequence[Attack]] = lambda threat: (),
    tiers: Sequence[Tier] = TIERS,
    journal: Journal | None = None,
    progress: Progress = lambda what, share: None,
) -> tuple[tuple[ThreatOutcome, ...], tuple[Evidence, ...]]:
    """Every threat on the card; `extra` gives further attacks for each."""
    outcomes: list[ThreatOutcome] = []
    evidence: list[Evidence] = []
    for number, threat in enumerate(card.threats):

        def within(what: str, share: float, number: int = number) -> None:
            progress(what, (number + share) / len(card.threats))

        outcome, found = run_threat(
            trial, threat, rng, extra=extra(threat), tiers=tiers, journal=journal, progress=within
        )
        outcomes.append(outcome)
        evidence += found
    return tuple(outcomes), tuple(evidence)


def _outcome(attack: Attack, trial: Trial, index: Tensor, found: Found) -> AttackOutcome:
    return AttackOutcome(
        name=attack.name,
        hyperparameters=attack.hyperparameters(),
        attacked=BitColumn.of(example_bits(trial, index)),
        broken=BitColumn.of(example_bits(trial, index[found.broken])),
        scores=FloatColumn.of(found.scores.cpu().numpy()),
        violations=found.violations,
        effort=found.effort,
        error=found.error,
    )


def example_bits(trial: Trial, index: Tensor) -> BoolArray:
    """Bits over the test examples, set at `index`."""
    bits = np.zeros(len(trial.batch), dtype=np.bool_)
    bits[index.cpu().numpy()] = True
    return bits


def _evidence(
    trial: Trial, threat: Threat, budget: Budget, attack: Attack, index: Tensor, found: Found
) -> tuple[Evidence, ...]:
    """The first few broken examples as edits; embeddings have none that could be read."""
    if not threat_model(threat).is_discrete:
        return ()
    clean = trial.batch.select(index)
    out = []
    for row in torch.nonzero(found.broken).squeeze(1).tolist()[:EVIDENCE_PER_ATTACK]:
        example = int(index[row])
        out.append(
            Evidence(
                threat=threat.id,
                tier=budget.tier,
                attack=attack.name,
                example=example,
                edits=threat_model(threat).edits(trial.world.catalog, clean, found.perturbed, row),
                clean_score=float(trial.scores[example]),
                score=float(found.scores[row]),
            )
        )
    return tuple(out)
