"""Challenging a record: a named attack, from outside the suite, on what the suite left standing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack, find_attack
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import TIERS, Threat, Tier
from recgauntlet.core.errors import PluginError, RecordError
from recgauntlet.core.plugins import Plugin, check_complete
from recgauntlet.core.rng import Randomness
from recgauntlet.core.source import source_of
from recgauntlet.core.spec import Options
from recgauntlet.core.types import BoolArray, Progress
from recgauntlet.evaluation.robustness import Attempt, evidence_of, run_attack
from recgauntlet.evaluation.setup import Trial, attackable
from recgauntlet.records.best_known import BestKnown, Challenge, Challenged, Deltas
from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.references import PluginRef
from recgauntlet.records.schema import AttackEffort, Evidence, RunRecord, ThreatOutcome
from recgauntlet.runner.remote.host import Host
from recgauntlet.runner.trained import Loaded, Setup, load_cell
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.victim import Victim
from recgauntlet.training.build import merged_options
from recgauntlet.training.device import describe, now

Examples = Literal["standing", "right"]


class OpenChallenge(NamedTuple):
    """The model and its test examples, the threats of its task by id, and the device."""

    trial: Trial
    threats: dict[str, Threat]
    device: torch.device


def open_challenged(
    cell: Challenged, checkpoint: Path, setup: Setup, progress: Progress, host: Host | None = None
) -> OpenChallenge:
    """Load the weights `checkpoint` and the data, and score the test examples; code of plugins that this needs runs in
    the processes of `host` (None: here).

    Raises
    ------
    RecordError
        Where weights, defense, task or data are not those of `cell`.
    """
    loaded = load_cell(checkpoint, setup, host=host, progress=progress)
    check_belongs(loaded, cell, checkpoint)
    loaded.served.eval().requires_grad_(False)
    card = loaded.cell.task.card
    trial = Trial.of(loaded.served, loaded.data, AttackerKnowledge.of(card, loaded.data))
    return OpenChallenge(trial, {threat.id: threat for threat in card.threats}, loaded.machine.device)


def check_belongs(loaded: Loaded, cell: Challenged, checkpoint: Path) -> None:
    card, track = loaded.cell.task.card, loaded.info.track
    defense = (loaded.info.defense, loaded.cell.defense_object.hyperparameters())
    own = "give the record's own weights with --checkpoint"
    for field, expected, found, remedy in (
        ("weights_sha256", cell.weights_sha256, loaded.weights, own),
        ("defense", (cell.defense.name, cell.defense.hyperparameters), defense, own),
        ("task.fingerprint", cell.task.fingerprint, card.fingerprint(track), "install the task in that version"),
        ("task.data_fingerprint", cell.task.data_fingerprint, loaded.data.fingerprint, "fetch the data that it names"),
    ):
        if expected != found:
            raise RecordError(
                f"does not belong to the record: {found} here, {expected} there",
                where=checkpoint,
                field=field,
                remedy=remedy,
            )


def challenge(
    record: RunRecord,
    checkpoint: Path,
    attack: str,
    setup: Setup,
    *,
    options: Options = (),
    threats: Sequence[str] = (),
    tiers: Sequence[Tier] = TIERS,
    examples: Examples = "standing",
    progress: Progress = lambda what, share: None,
) -> BestKnown:
    """Run the registered attack `attack` on the model of `record`, whose weights are in `checkpoint`.

    Tier by tier from the lowest, the examples that the record says survived its suite (or all right ones) are attacked,
    but for those that the attack itself has broken in a lower tier. The evaluator scores what comes back and the
    verifier checks it; a change of embeddings is rounded to half floats (towards 0) before that, so what is kept is
    what was scored. `threats` (none: all of the attack's surface) and `tiers` choose. Nothing is written.

    Raises
    ------
    RecordError
        Where the record has no outcomes, or the weights or the data are not the record's.
    PluginError
        Where the attack is unknown, has no such option, fits no threat of the record, or fails everywhere.
    """
    started = now()
    plugin = find_attack(attack)
    made = _made(plugin, options)
    if record.first_pairs is not None:
        raise RecordError(
            f"was attacked on its first {record.first_pairs.pairs} test pairs, best known attacks are on all",
            field="first_pairs",
            remedy="attack all test pairs of its weights first: recgauntlet run --reuse-weights without --test-pairs",
        )
    chosen = _chosen(record, made, threats)
    cell = Challenged.of(record)
    opened = open_challenged(cell, checkpoint, setup, progress)
    rng = Randomness(record.seed, "challenge")
    outcomes: list[Challenge] = []
    evidence: list[Evidence] = []
    for number, outcome in enumerate(chosen):
        threat = opened.threats[outcome.id]  # the fingerprint of the card is the record's
        trial = opened.trial.under(threat)
        robust_at = {t.tier: t.robust.to_bool() for t in outcome.tiers}
        broken = np.zeros(len(trial.batch), dtype=np.bool_)
        for place, tier in enumerate(tier for tier in TIERS if tier in tiers):
            budget = Budget.of(threat, tier)  # pyright: ignore[reportArgumentType]  # one of TIERS
            if tier not in robust_at or not made.supports(budget):
                continue
            progress(f"{threat.id}, {tier}: {attack}", (number + place / len(tiers)) / len(chosen))
            robust = robust_at[tier]
            left = torch.from_numpy(robust & ~broken if examples == "standing" else ~broken).to(trial.right.device)
            index = torch.nonzero(left & trial.right & attackable(threat, trial.batch)).squeeze(1)
            if len(index) == 0:
                attempt = _nothing(trial, index)
            else:
                source = rng.child(f"{threat.id}/{tier}/{made.name}")
                attempt = run_attack(trial, _AsKept(made, trial), budget, index, source)
            outcomes.append(_outcome(trial, budget, robust, index, attempt))
            rows = torch.nonzero(attempt.broken).squeeze(1).tolist()
            evidence += evidence_of(trial, budget, attack, index, attempt, rows)
            broken |= outcomes[-1].broken.to_bool()
    progress("done", 1.0)
    _check_ran(plugin, outcomes)
    return BestKnown(
        challenged=cell,
        attack=PluginRef.of(plugin, made.hyperparameters(), source_of("attacks", plugin.name)),
        examples=examples,
        environment=describe(opened.device, "fp32"),
        started=started,
        finished=now(),
        outcomes=tuple(outcomes),
        evidence=tuple(evidence),
    )


class _AsKept(Attack):
    """An attack whose results are as evidence keeps them."""

    name = "as-kept"
    surface = "embedding"  # nothing reads it

    def __init__(self, attack: Attack, trial: Trial) -> None:
        self.attack = attack
        self.trial = trial

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        found = self.attack.perturb(victim, batch, budget, rng)
        return threat_model(budget.threat).as_kept(self.trial.world.catalog, self.trial.scale, budget, batch, found)


def _nothing(trial: Trial, index: Tensor) -> Attempt:
    """What an attack comes to on no examples; it is not run, attacks need not bear empty batches."""
    effort = AttackEffort(forwards=0, backwards=0, user_encodings=0, cache_hits=0, seconds=0.0)
    return Attempt(trial.batch.select(index), trial.scores[index], trial.right[index], 0, effort, 0.0, "")


def _outcome(trial: Trial, budget: Budget, robust: BoolArray, index: Tensor, attempt: Attempt) -> Challenge:
    threat, broken = budget.threat, attempt.broken
    deltas = None
    if bool(broken.any()):
        perturbed = attempt.perturbed.select(torch.nonzero(broken).squeeze(1))
        if kept := threat_model(threat).kept_deltas(trial.scale, budget, perturbed):
            values, unit = kept
            shape = (values.shape[0], values.shape[1], values.shape[2])
            deltas = Deltas(shape=shape, unit=unit, values=FloatColumn.of(values.ravel()))
    return Challenge(
        threat=threat.id,
        surface=threat.surface,
        goal=threat.goal,
        tier=budget.tier,
        amount=budget.amount,
        characters=budget.characters,
        queries=budget.queries,
        robust=BitColumn.of(robust),
        attacked=BitColumn.of(trial.mask(index)),
        broken=BitColumn.of(trial.mask(index[broken])),
        violations=attempt.violations,
        effort=attempt.effort,
        error=attempt.error,
        deltas=deltas,
    )


def _made(plugin: Plugin, options: Options) -> Attack:
    check_complete(plugin)
    chosen = merged_options(plugin, options)
    try:
        attack: Attack = plugin.value(**chosen)
    except Exception as error:  # an untrusted constructor may fail in any way
        raise PluginError(
            f"the attack {plugin.name!r} cannot be built: {type(error).__name__}: {error}",
            where=plugin.distribution,
            field="__init__",
            remedy="give every argument of the constructor a keyword and a default",
        ) from error
    return attack


def _chosen(record: RunRecord, attack: Attack, threats: Sequence[str]) -> list[ThreatOutcome]:
    """The record's outcomes under the threats to attack."""
    if record.status != "ok":
        raise RecordError(
            "the cell failed, so there is nothing to attack",
            field="status",
            remedy="give the record of a finished cell, or run the cell again",
        )
    fitting = [threat for threat in record.threats if threat.surface == attack.surface and threat.applicable]
    unknown = [name for name in threats if name not in {threat.id for threat in fitting}]
    if unknown or not fitting:
        what = f"{unknown[0]!r} is" if unknown else "there is"
        names = ", ".join(threat.id for threat in fitting)
        raise PluginError(
            f"{what} no threat of this record that changes what {attack.name} changes ({attack.surface})",
            field="--threat" if unknown else "--attack",
            remedy=f"choose among: {names}" if names else "attack another record, or with an attack of another surface",
        )
    return [threat for threat in fitting if not threats or threat.id in threats]


def _check_ran(plugin: Plugin, outcomes: Sequence[Challenge]) -> None:
    if not outcomes:
        raise PluginError(
            f"{plugin.name} supports none of the budgets",
            where=plugin.distribution,
            field="supports",
            remedy="choose other tiers or threats, or let the attack support them",
        )
    if all(outcome.error for outcome in outcomes):
        raise PluginError(
            f"{plugin.name} failed at every tier: {outcomes[0].error}",
            where=plugin.distribution,
            field="perturb",
            remedy="mend the attack; docs/extend/attack.md has its contract",
        )
