"""The evaluator's certificate of a smoothed model: examples that no legal input of a threat can turn, by counting.

Let `v_1 ... v_k` be the votes' probabilities of the right answer on the clean input (right where their mean is above
one half), and let an attacker touch `t` words or items, each of which at most `m` votes see. A vote that sees none of
them reads the same input as before, so its probability stays; at most `a = min(k, t m)` votes see one, and theirs are
at least 0. So the mean over all votes of any legal input is at least

    (v_1 + ... + v_k - the a largest of v_1 ... v_k) / k,

and where this is above one half, no legal input is answered wrong (the argument of Levine and Feizi 2020). It needs no
sampling and has no chance of error. It trusts the model inside to be a fixed function of what each vote reads, which
the checks `deterministic` and `scores-each-by-itself` test, and which every attack tries to disprove.

`ThreatModel.touched` counts `t` by the verifier's rules: a changed or added word is one touched place, as words keep
their places; a deletion or an insertion touches one item, a replacement two, and an insertion into a full history also
the oldest item, which it pushes out. Other rules are left out, which can only make the certificate smaller.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.card import Threat, Tier
from recgauntlet.evaluation.results import CertifiedResult, ThreatResult
from recgauntlet.evaluation.sanity_checks import at_most
from recgauntlet.evaluation.setup import Trial, attackable
from recgauntlet.records.schema import Gate
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.smoothing import SMOOTHED, DeletionSmoothed

MARGIN = 1e-4
"""By how much the mean of the probabilities must exceed one half: far above the rounding of single precision."""


def certify(trial: Trial, threat: Threat, tiers: Sequence[Tier]) -> tuple[CertifiedResult, ...]:
    """What is certified under `threat` at each of `tiers`; nothing where the model is not the harness's own smoothing
    of the threat's surface, or is random all the same.

    An example counts where its clean answer is right, and no legal input of the tier can change that. Where the threat
    promotes, clicked candidates are not attacked and keep their clean outcome, as in robust accuracy.
    """
    model = trial.model
    # no subclass of the harness's own: it may override what the proof is about
    if not isinstance(model, DeletionSmoothed) or type(model) is not SMOOTHED.get(threat.surface) or trial.samples > 1:
        return ()
    votes = right_votes(model, trial.batch)
    left_alone = ~attackable(threat, trial.batch)
    found = []
    for tier in tiers:
        reached = model.kept * threat_model(threat).touched(trial.world.catalog, trial.batch, Budget.of(threat, tier))
        holds = (guaranteed(votes, reached) > 0.5 + MARGIN).to(trial.right.device)
        found.append(
            CertifiedResult(
                threat=threat.id,
                tier=tier,
                votes=model.votes,
                reached=min(model.votes, int(reached.max())),
                certified=(trial.right & (holds | left_alone)).cpu().numpy(),
            )
        )
    return tuple(found)


def guaranteed(votes: Tensor, reached: Tensor) -> Tensor:
    """`[B]`: the least mean that the probabilities `votes [B, K]` can be brought to where `reached [B]` of them may
    become 0; NaN where one is no number."""
    best_first = votes.sort(dim=1, descending=True).values
    places = torch.arange(votes.shape[1], device=votes.device)
    return (best_first * (places >= reached.to(votes.device).unsqueeze(1))).sum(dim=1) / votes.shape[1]


@torch.no_grad()
def right_votes(model: DeletionSmoothed, batch: Batch, chunk: int = 256) -> Tensor:
    """`[B, votes]`, double precision, on the CPU: the probability that each vote gives the right answer on the clean
    input, by the path on which the evaluator scores."""
    parts = []
    for start in range(0, len(batch), chunk):
        index = torch.arange(start, min(start + chunk, len(batch)), device=batch.items.device)
        part = batch.select(index)
        used, rows = torch.unique(part.rows, return_inverse=True)
        state = model.encode_user(part.users.select(used)).select(rows)
        parts.append(model.vote_logits(state, model.candidates(part.items, part.texts)).double().cpu())
    signs = 2 * batch.labels.double().cpu() - 1
    return torch.sigmoid(model.sharpness * torch.cat(parts) * signs.unsqueeze(1))


def certificate_check(result: ThreatResult) -> Gate:
    """No attack broke what is certified: then either the certificate or the model inside is not what it seems."""
    broken = 0
    for tier in result.tiers:
        for one in result.certified:
            if one.tier == tier.tier:
                alone = [lone.broken for lone in result.ablation if lone.tier == tier.tier]
                fell = ~tier.robust
                fell[list(result.subset)] |= np.any(alone, axis=0) if alone else False
                broken += int((one.certified & fell).sum())
    return at_most(
        name="certificate-holds",
        threat=result.threat.id,
        value=float(broken),
        limit=0.0,
        explanation=f"{broken} times an attack broke an example that was certified; a proof that an example disproves "
        "speaks of another model than the one that was attacked"
        if broken
        else "no attack broke an example that was certified",
        remedy="let the model inside score what it is given and nothing else: no memory between calls, no look at the "
        "neighbours in a batch, no randomness; where it does, report it as a fault of the certificate",
    )
