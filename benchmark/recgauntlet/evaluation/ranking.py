"""Rankings under attack: one candidate of each test impression is pushed as far as the medium tier allows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.suite import attacks_on_twin
from recgauntlet.attacks.surrogate import SurrogateInputs
from recgauntlet.attacks.transfer import Transfer
from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.card import RANKING_TIER, Threat
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.protocol import RANKED_IMPRESSIONS
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import IntArray
from recgauntlet.data.batches import impressions_to_batch
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.results import CleanResult, RankingResult
from recgauntlet.evaluation.robustness import run_attack
from recgauntlet.evaluation.setup import Trial, is_right
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.verifier import verify


def pushers_for(threat: Threat) -> tuple[Attack, ...]:
    """The white-box searches of the threat's surface, and those that make other changes, none of which stops at the
    decision boundary: for a ranking only how far a score moves counts."""
    return tuple(attack for attack in attacks_on_twin(threat) if attack.uses_gradients or attack.edits)


def rank_under_attack(
    trial: Trial,
    data: TaskData,
    clean: CleanResult,
    threat: Threat,
    rng: Randomness,
    *,
    twin: SurrogateInputs | None = None,
    pushers: Sequence[Attack] | None = None,
) -> RankingResult:
    """Push one candidate of each of the first RANKED_IMPRESSIONS test impressions of `data`.

    Where the threat promotes, an unclicked candidate is pushed up; else a clicked one is pushed down. Which one is
    drawn, impression by impression. Each of `pushers` (by default `pushers_for`), and each of them again by transfer
    from the `twin`, has its try; the input that moves the score furthest counts, if the verifier finds it legal. Where
    none is, the impression stays as it was. What the searches find on the twin is kept with its other inputs.

    The scores of candidates that were not touched are those of `clean`, so that rounding cannot reorder them.
    """
    index = np.arange(min(RANKED_IMPRESSIONS, len(data.impressions)), dtype=np.int64)
    lists = impressions_to_batch(data.impressions, index).to(trial.model.device)
    offsets = (data.impressions.offsets[: len(index) + 1] - data.impressions.offsets[0]).astype(np.int64)
    targets = _draw_targets(lists, offsets, threat, rng.child(f"ranking/{threat.id}"))
    places = torch.from_numpy(offsets[:-1] + targets).to(lists.items.device)
    shown = threat_model(threat).clean_input(data.catalog, lists.select(places))
    pushed = _push(trial, shown, threat, rng.child(f"ranking/{threat.id}"), twin, pushers)
    after = clean.impression_scores[: offsets[-1]].copy()
    if threat_model(threat).changes_user:
        moved = pushed.moved[lists.rows]
        edited = replace(lists, users=Users(lists.users.ids, pushed.batch.histories()))
        rows = torch.nonzero(moved).squeeze(1)
        after[moved.cpu().numpy()] = score_in_chunks(trial.model, edited.select(rows), trial.samples).cpu().numpy()
    else:
        after[places[pushed.moved].cpu().numpy()] = pushed.scores[pushed.moved].cpu().numpy()
    return RankingResult(
        threat=threat.id,
        impressions=tuple(index.tolist()),
        targets=tuple(targets.tolist()),
        scores=after,
    )


def _draw_targets(lists: Batch, offsets: IntArray, threat: Threat, rng: Randomness) -> IntArray:
    """`[I]`: the place in its impression of the candidate that is pushed."""
    wanted = (lists.labels.cpu().numpy() > 0.5) != (threat.goal == "promote")
    chosen = []
    for number, (start, end) in enumerate(itertools.pairwise(offsets.tolist())):
        chosen.append(rng.child("target").numpy(number).choice(np.flatnonzero(wanted[start:end])))
    return np.array(chosen, dtype=np.int64)


@dataclass(frozen=True)
class _Pushed:
    """The inputs found for `n` examples, their scores `[n]`, and which of them changed, `[n]`."""

    batch: Batch
    scores: Tensor
    moved: Tensor


def _push(
    trial: Trial,
    batch: Batch,
    threat: Threat,
    rng: Randomness,
    twin: SurrogateInputs | None,
    pushers: Sequence[Attack] | None,
) -> _Pushed:
    model, budget = threat_model(threat), Budget.of(threat, RANKING_TIER)
    victim = trial.victim_of(batch)
    scores = score_in_chunks(trial.model, batch, trial.samples)
    targets = replace(trial, victim=victim, batch=batch, scores=scores, right=is_right(scores, batch))
    attacks = [attack for attack in pushers or pushers_for(threat) if attack.supports(budget)]
    if twin is not None:
        attacks.append(Transfer(attacks, twin.on(batch, rng.child("twin"))))
    everyone = torch.arange(len(batch), device=batch.items.device)
    sign = 1 - 2 * batch.labels
    best = _Pushed(batch, scores, torch.zeros_like(everyone, dtype=torch.bool))
    for number, attack in enumerate(attacks):
        found = run_attack(targets, attack, budget, everyone, rng.child(f"{number}/{attack.name}"))
        legal = verify(trial.world, trial.scale, budget, batch, found.perturbed).legal.to(sign.device)
        further = legal & (sign * (found.scores - best.scores) > 0)  # false where a score is not a number
        rows = torch.nonzero(further).squeeze(1)
        best = _Pushed(
            model.put(trial.world.catalog, best.batch, rows, found.perturbed.select(rows)),
            torch.where(further, found.scores, best.scores),
            best.moved | further,
        )
    return best
