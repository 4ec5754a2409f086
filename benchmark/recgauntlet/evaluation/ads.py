"""Ad dodging: how many of the ads that a model's lists show are left when users edit their histories.

The sponsorship is simulated (`recgauntlet.data.ads`). Each attack runs by itself on the lists that show an ad; what it
returns is scored again, and the verifier (`recgauntlet.threats.ads`) decides whether it is legal.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.history.ads import ListExposure, Lists, dodging_attacks
from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.card import RANKING_TIER, TIERS, AdThreat, Tier
from recgauntlet.core.dataset import AdLists, TaskData
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.journal import Journal
from recgauntlet.core.protocol import SLACK
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import BoolArray, IntArray, Progress
from recgauntlet.evaluation.judge import judged_scores, score_in_chunks
from recgauntlet.evaluation.results import AdAttackResult, AdResult, AdTierResult
from recgauntlet.evaluation.robustness import kind_and_place
from recgauntlet.evaluation.setup import Trial
from recgauntlet.metrics.ranking import Scores
from recgauntlet.records.schema import AttackEffort, Gate
from recgauntlet.threats.ads import fitted_offset, history_rules, judge_edits, shown_ads, utility
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.victim import Victim

CHUNK = 32
"""Lists in one pass."""
CONTROL = "dodging-gradient"
"""The attack that runs on the other draws of sponsored items."""


def dodge_ads(
    trial: Trial,
    data: TaskData,
    threat: AdThreat,
    rng: Randomness,
    *,
    tiers: Sequence[Tier] = TIERS,
    journal: Journal | None = None,
    progress: Progress = lambda what, share: None,
) -> tuple[AdResult, ...]:
    """One result for each draw of sponsored items: all attacks at `tiers` for the first, one attack at the medium tier
    for the others, which are controls. Without tiers where the model does not read histories."""
    journal = journal or Journal()
    if threat.surface not in trial.model.surfaces or data.valid_ads is None or data.test_ads is None:
        return (AdResult(threat=threat.id, draw=0),)
    results = []
    for draw in range(threat.draws):
        progress(f"{threat.id}, draw {draw + 1} of sponsored items", draw / threat.draws)
        attacks = [one for one in dodging_attacks() if draw == 0 or one.name == CONTROL]
        stage = _Stage.of(trial, data.valid_ads, data.test_ads, threat, draw)
        results.append(_dodge(stage, attacks, tiers if draw == 0 else (RANKING_TIER,), rng, journal))
    return tuple(results)


@dataclass(frozen=True)
class _Stage:
    """One draw of sponsored items: the lists that a model shows, and how they are scored.

    items, taken
        `[L, K]`
    offset
        Of the platform, fitted on lists of the validation period.
    scores
        `[L, K]`, with the clean histories.
    shown
        `[L, S]`: the ads on the clean lists.
    """

    trial: Trial
    threat: AdThreat
    draw: int
    users: IntArray
    histories: IntArray
    items: IntArray
    taken: BoolArray
    offset: float
    scores: Scores
    shown: BoolArray

    @classmethod
    def of(cls, trial: Trial, valid: AdLists, test: AdLists, threat: AdThreat, draw: int) -> _Stage:
        before, scores = (_scored(trial, lists.users, lists.histories, lists.items[draw]) for lists in (valid, test))
        offset = fitted_offset(before, threat.organic, threat.shown)
        shown = shown_ads(scores, threat.organic, offset)
        lists = (test.users, test.histories, test.items[draw], test.taken[draw])
        return cls(trial, threat, draw, *lists, offset, scores, shown)

    @property
    def victim(self) -> Victim:
        """The lists as the candidates of a model whose score is their exposure, one for each user."""
        device = self.trial.model.device
        least = self.threat.utility * utility(self.scores, self.taken, self.threat.organic)
        lists = Lists(
            torch.from_numpy(self.items).to(device),
            torch.from_numpy(self.taken).to(device),
            torch.from_numpy(self.shown).to(device),
            self.threat.organic,
            self.offset,
            torch.from_numpy(least).float().to(device),
            torch.from_numpy(np.maximum(self.scores.std(axis=1), 1e-30)).float().to(device),
        )
        count = torch.arange(len(self.users))
        users = Users(torch.from_numpy(self.users), torch.from_numpy(self.histories))
        batch = Batch(users, count, count, torch.ones(len(count)), count).to(device)
        model = ListExposure(self.trial.model, lists).eval()
        return Victim(model, self.trial.world, self.trial.scale, batch, chunk=CHUNK, samples=self.trial.samples)


def _candidates(users: IntArray, histories: IntArray, items: IntArray, device: torch.device) -> Batch:
    """All candidates `items [L, K]` as one batch, list after list."""
    rows = torch.arange(len(users)).repeat_interleave(items.shape[1])
    whole = Users(torch.from_numpy(users), torch.from_numpy(histories))
    flat = torch.from_numpy(np.ascontiguousarray(items).reshape(-1))
    return Batch(whole, rows, flat, torch.zeros(len(flat)), torch.arange(len(flat))).to(device)


def _scored(trial: Trial, users: IntArray, histories: IntArray, items: IntArray) -> Scores:
    """`[L, K]`: the scores of clean lists."""
    batch = _candidates(users, histories, items, trial.model.device)
    return score_in_chunks(trial.model, batch, trial.samples).cpu().numpy().reshape(items.shape)


def _dodge(
    stage: _Stage, attacks: Sequence[Attack], tiers: Sequence[Tier], rng: Randomness, journal: Journal
) -> AdResult:
    """All `attacks` at each of `tiers`, and the sanity checks that follow."""
    victim, judge = stage.victim, stage.trial.with_fresh_copy().fresh or stage.trial.model
    found = []
    for tier in tiers:
        budget = Budget.of(history_rules(stage.threat), tier)
        outcomes = []
        for attack in attacks:
            key = f"{stage.threat.id}/{stage.draw}/{tier}/{attack.name}"
            outcome = journal.found(key, AdAttackResult)
            if outcome is None:
                outcome = _attack(stage, victim, judge, attack, budget, rng.child(key))
                journal.keep(key, outcome)
            outcomes.append(outcome)
        found.append(AdTierResult(tier=tier, edits=int(budget.amount), queries=budget.queries, attacks=tuple(outcomes)))
    result = AdResult(
        threat=stage.threat.id,
        draw=stage.draw,
        lists=len(stage.users),
        sponsored=stage.shown.shape[1],
        offset=stage.offset,
        shown=stage.shown.reshape(-1),
        tiers=tuple(found),
    )
    unedited = _judged(stage, judge, stage.histories, rng.child("unedited"))
    again = shown_ads(unedited, stage.threat.organic, stage.offset)
    return result.model_copy(update={"checks": _checks(result, again.reshape(-1))})


def _attack(
    stage: _Stage, victim: Victim, judge: Recommender, attack: Attack, budget: Budget, rng: Randomness
) -> AdAttackResult:
    victim.reset(budget.queries)
    active = torch.nonzero(torch.from_numpy(stage.shown.any(axis=1))).squeeze(1)
    clean = victim.clean.select(active.to(victim.clean.items.device))
    histories, ads, error, violations = stage.histories.copy(), stage.shown.copy(), "", 0
    try:
        edited = attack.perturb(victim, clean, budget, rng).histories().cpu().numpy()
        if edited.shape != (len(active), histories.shape[1]):
            raise ValueError("an attack returned other lists than it was given")
        histories[active] = edited
        scores = _judged(stage, judge, histories, rng.child("judge"))
        judged = judge_edits(
            stage.threat,
            budget.tier,
            len(stage.trial.world.catalog),
            stage.offset,
            stage.items,
            stage.taken,
            (stage.histories, stage.scores),
            (histories, scores),
        )
        violations = int((~judged.legal).sum())
        used = judged.legal & (judged.ads.sum(axis=1) <= stage.shown.sum(axis=1))
        ads[used] = judged.ads[used]
    except (RecGauntletError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as fault:  # a model may fail in any way on what an attack asks; then nothing was dodged
        error = kind_and_place(fault)
    return AdAttackResult(
        name=attack.name,
        hyperparameters=attack.hyperparameters(),
        ads=ads.reshape(-1),
        violations=violations,
        effort=AttackEffort(**asdict(victim.effort)),
        error=error,
    )


def _judged(stage: _Stage, judge: Recommender, histories: IntArray, rng: Randomness) -> Scores:
    """`[L, K]`: the scores that count, of a copy of the model that no attack asked."""
    device = stage.trial.model.device
    edited = _candidates(stage.users, histories, stage.items, device)
    if stage.trial.samples > 1:
        scores = score_in_chunks(judge, edited, stage.trial.samples)
    else:
        scores = judged_scores(judge, edited, _candidates(stage.users, stage.histories, stage.items, device), rng)
    return scores.cpu().numpy().reshape(stage.items.shape)


def _checks(result: AdResult, unedited: BoolArray) -> tuple[Gate, ...]:
    """Sanity checks of the measurement: without an edit all ads stay, a larger budget exposes no more, and random
    edits hide no more than the best attack. For the last two each attack counts by itself."""
    total = max(1, int(result.shown.sum()))
    kept = {
        tier.tier: {attack.name: float(attack.ads.sum()) / total for attack in tier.attacks} for tier in result.tiers
    }
    same = float((unedited & result.shown).sum()) / total if result.shown.any() else 1.0
    gate = partial(Gate, threat=result.threat)
    checks = [
        gate(
            name="no-edit-keeps-all-ads",
            passed=same == 1.0,
            value=same,
            limit=1.0,
            explanation="share of the ads that lists with unchanged histories show again",
        )
    ]
    tiers = list(kept.values())
    if len(tiers) > 1:
        rise = max(after[CONTROL] - before[CONTROL] for before, after in itertools.pairwise(tiers))
        checks.append(
            gate(
                name="more-edits-expose-no-more",
                passed=rise <= SLACK,
                value=rise,
                limit=SLACK,
                explanation=f"the largest rise of the exposure under {CONTROL} from a tier to the next",
            )
        )
    if "random" in tiers[0]:
        gap = max(min(v for name, v in one.items() if name != "random") - one["random"] for one in tiers)
        checks.append(
            gate(
                name="random-hides-no-more",
                passed=gap <= SLACK,
                value=gap,
                limit=SLACK,
                explanation="exposure under the best attack less that under random edits, the largest of the tiers",
            )
        )
    return tuple(checks)
