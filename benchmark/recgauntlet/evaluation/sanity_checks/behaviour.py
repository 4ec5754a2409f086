"""Sanity checks of inference: determinism, batch invariance, no state, and a forward pass alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recgauntlet.core.card import Threat
from recgauntlet.core.protocol import FEW, SAME
from recgauntlet.core.recommender import embedding_mask
from recgauntlet.core.scoring import autograd_calls, score_batch
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.results import ThreatResult
from recgauntlet.evaluation.sanity_checks import at_most
from recgauntlet.evaluation.setup import Trial, change, is_right
from recgauntlet.records.schema import Gate
from recgauntlet.threats.registry import threat_model
from recgauntlet.training.checkpoint import weights_hash


def inference_checks(trial: Trial) -> tuple[Gate, ...]:
    """Determinism, batch invariance, no change by scoring, and no optimization inside."""
    few = trial.batch.select(torch.arange(min(FEW, len(trial.batch)), device=trial.batch.items.device))
    weights = weights_hash(trial.model)
    with autograd_calls() as calls:
        once = score_batch(trial.model, few)
    again = score_batch(trial.model, few)
    moved = change(once, again)
    rows = torch.arange(len(few), device=few.items.device)
    uneven = [rows[:1], *(rows[start : start + 7] for start in range(1, len(rows), 7))]
    apart = torch.cat([score_batch(trial.model, few.select(part)) for part in uneven])
    # random models differ anyway, which the first check reports
    dependence = 0.0 if moved > SAME else change(once, apart)
    changed = weights_hash(trial.model) != weights
    return (
        at_most(
            name="deterministic",
            value=moved,
            limit=SAME,
            explanation=f"scoring the same inputs twice moves scores by {moved:.1e} of their spread; randomness at "
            "inference hides errors from an attack without mending them",
            remedy="serve the model without noise or dropout; the attacks average over "
            f"{trial.samples} passes, which is no proof",
        ),
        at_most(
            name="scores-each-by-itself",
            value=dependence,
            limit=SAME,
            explanation=f"the same inputs in smaller batches move scores by {dependence:.1e} of their spread; a score "
            "that depends on its neighbours in the batch can neither be attacked nor served reliably",
            remedy="use statistics of training, not of the batch, at inference",
        ),
        at_most(
            name="unchanged-by-scoring",
            value=float(changed),
            limit=0.0,
            explanation="scoring changes the model's weights or buffers; what was attacked is not what was measured"
            if changed
            else "scoring leaves the weights and buffers as they were",
            remedy="serve the model in evaluation mode, without updates",
        ),
        at_most(
            name="no-optimization-at-inference",
            value=float(len(calls)),
            limit=0.0,
            explanation=f"scoring calls autograd {len(calls)} times; a defense that optimizes at inference costs a "
            "multiple, and gradients through its loop mislead the attacks",
            remedy="report such a defense with an attack of its own (recgauntlet challenge) that goes around the loop",
        ),
    )


def padding_independence(trial: Trial) -> Gate:
    """Embeddings at padded places, which no attack moves, have no effect on a score."""
    rows = torch.arange(min(FEW, len(trial.batch)), device=trial.batch.items.device)
    few = trial.batch.select(rows)
    candidates = trial.model.candidates(few.items)
    with torch.no_grad():
        embedded = trial.model.embed(candidates)
    padded = ~embedding_mask(candidates, embedded).unsqueeze(-1)
    same, moved = (
        few.with_delta(size * trial.scale.norm * padded.to(embedded.dtype).expand_as(embedded)) for size in (0, 1)
    )
    # random models differ anyway, which another check reports
    value = 0.0 if trial.samples > 1 else change(score_batch(trial.model, same), score_batch(trial.model, moved))
    return at_most(
        name="padding-is-not-read",
        value=value,
        limit=SAME,
        explanation=f"other embeddings at padded places move scores by {value:.1e} of their spread; attacks move real "
        "tokens only, so such a model is attacked at a part of what it reads",
        remedy="mask the attention and the mean with candidates.tokens.mask",
    )


def zero_budget(trial: Trial, threat: Threat, index: Tensor) -> Gate:
    """Nothing is changed, but the input takes the way that a perturbed one takes."""
    clean = trial.batch.select(index)
    same = threat_model(threat).unchanged(trial.model, trial.world.catalog, clean)
    scores = score_in_chunks(trial.model, same, trial.samples)
    moved = 0.0 if trial.samples > 1 else change(trial.scores[index], scores)
    flips = int((is_right(scores, clean) != trial.right[index]).sum())
    return at_most(
        name="zero-budget-is-clean",
        threat=threat.id,
        value=moved,
        limit=SAME,
        explanation=f"an unchanged input sent along the path of a perturbed one moves scores by {moved:.1e} of their "
        f"spread and flips {flips} answers; the model tells attacked inputs from clean ones",
        remedy="let embed, tokenize and encode_user give the same for the same input, however it is handed in",
    )


def fresh_scores(trial: Trial, result: ThreatResult) -> Gate:
    """A fresh copy of the model, which no attack has asked, scores what the attacks returned as the model does."""
    gaps = [attack.unlike_fresh for tier in result.tiers for attack in tier.attacks]
    gap = math.inf if trial.untouched is None else max(gaps, default=0.0)
    return at_most(
        name="same-scores-when-fresh",
        threat=result.threat.id,
        value=gap,
        limit=SAME,
        explanation="the model cannot be copied, so it cannot be shown that its answers do not depend on earlier ones"
        if trial.untouched is None
        else f"what the attacks returned is scored differently by a fresh copy, by up to {gap:.1e} of the scores' "
        "spread; the score depends on what was asked before",
        remedy="keep nothing between calls but what is computed from the catalog; let copy.deepcopy copy the model",
    )
