"""Explaining a decision of a trained cell: its record, its weights, and a test example."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from recgauntlet.core.card import RANKING_TIER, TIERS, Threat, Tier
from recgauntlet.core.errors import PluginError, RecordError
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Progress
from recgauntlet.evaluation.attribution import captum_method
from recgauntlet.evaluation.explanation import Explanation, Flip, explain
from recgauntlet.evaluation.input_parts import PARTS
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.setup import Trial, attackable, is_right
from recgauntlet.records.best_known import Challenged
from recgauntlet.records.schema import Evidence, RunRecord
from recgauntlet.runner.challenge import OpenChallenge, open_challenged
from recgauntlet.runner.recheck import rebuild
from recgauntlet.runner.trained import Setup, host_of
from recgauntlet.threats.budget import Budget

EXAMPLE = "EXAMPLE"


def explained_evidence(record: RunRecord, threat: str | None = None, tier: Tier | None = None) -> tuple[Evidence, ...]:
    """The record's evidence whose edits can be read, of one threat and tier where they are named."""
    surfaces = {outcome.id: outcome.surface for outcome in record.threats}
    return tuple(
        entry
        for entry in record.evidence
        if surfaces.get(entry.threat) in PARTS and threat in (None, entry.threat) and tier in (None, entry.tier)
    )


def explain_record(
    record: RunRecord,
    checkpoint: Path,
    setup: Setup,
    example: int,
    *,
    threat: str | None = None,
    tier: Tier | None = None,
    progress: Progress = lambda what, share: None,
) -> Explanation:
    """Explain the decision of the model of `record`, whose weights are in `checkpoint`, on the test example `example`.

    Where the record has an edit of the example, of `threat` and `tier` where they are named, that is explained; else
    the suite searches for one, under the first threat that fits where none is named, up to the medium tier. Code of
    plugins runs in processes of its own.

    Raises
    ------
    RecordError
        Where the record has no outcomes, no such example or threat, or the weights or the data are not the record's.
    PluginError
        Where Captum is not installed, or the model's plugin cannot be run.
    """
    captum_method()
    if record.status != "ok" or record.clean is None:
        raise RecordError(
            "the cell failed, so there is nothing to explain",
            field="status",
            remedy="give the record of a finished cell, or run the cell again",
        )
    _check_example(example, record.clean.labels.n)
    known = [entry for entry in explained_evidence(record, threat, tier) if entry.example == example]
    known.sort(key=lambda entry: TIERS.index(entry.tier))
    with host_of(checkpoint, setup) as host:
        opened = open_challenged(Challenged.of(record), checkpoint, setup, progress, host)
        _check_example(example, len(opened.trial.batch))
        chosen = _chosen(opened, example, threat if not known else known[0].threat)
        flip = _rebuilt(opened.trial.under(chosen), chosen, known[0]) if known else None
        rng = Randomness(record.seed, "evaluation")
        return explain(opened.trial, chosen, tier or RANKING_TIER, example, rng, flip=flip, progress=progress)


def _check_example(example: int, count: int) -> None:
    if not 0 <= example < count:
        raise RecordError(
            f"there is no test example {example}", field=EXAMPLE, remedy=f"give a number from 0 to {count - 1}"
        )


def _chosen(opened: OpenChallenge, example: int, name: str | None) -> Threat:
    """The threat of that name, or the first that has parts to read and touches the example."""
    fitting = [
        threat
        for threat in opened.threats.values()
        if threat.surface in PARTS and threat.surface in opened.trial.model.surfaces
    ]
    touching = [threat for threat in fitting if bool(attackable(threat, opened.trial.batch)[example])]
    for threat in fitting:
        if threat.id == name and threat not in touching:
            raise RecordError(
                f"{name} does not touch test example {example}: its attacker promotes what was not clicked",
                field=EXAMPLE,
                remedy="give an example that was not clicked (an odd number)",
            )
    found = [threat for threat in touching if name in (None, threat.id)]
    if not found:
        raise PluginError(
            "the model reads nothing whose edits could be explained"
            if name is None
            else f"{name!r} is no threat whose edits this model reads and could be explained",
            field="--threat",
            remedy=f"choose among: {_listed(touching)}" if touching else "explain a model of texts or histories",
        )
    return found[0]


def _listed(threats: Sequence[Threat]) -> str:
    return ", ".join(threat.id for threat in threats)


def _rebuilt(trial: Trial, threat: Threat, entry: Evidence) -> Flip:
    """The edit of a record, checked: legal, and it turns a decision that was right.

    Raises
    ------
    RecordError
        Where it does not check out.
    """
    clean = trial.batch.select(torch.tensor([entry.example], device=trial.batch.items.device))
    inputs, (fault,) = rebuild(trial.world, trial.scale, Budget.of(threat, entry.tier), clean, [entry])
    scores = score_in_chunks(trial.model, inputs, trial.samples)
    if not fault and (bool(is_right(scores, clean)[0]) or not bool(trial.right[entry.example])):
        fault = f"it does not turn the decision: the score is {float(scores):.6g}, the record says {entry.score:.6g}"
    if fault:
        raise RecordError(
            f"the edit of test example {entry.example} ({entry.attack}) does not check out: {fault}",
            field="evidence",
            remedy="run on the device and with the torch version that the record names, or choose another example",
        )
    return Flip(entry.edits, float(scores), f"{entry.attack}, evidence of the record", entry.tier)
