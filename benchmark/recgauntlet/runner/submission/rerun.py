"""One cell of a submission, drawn by lot, run again from nothing and compared with its record."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from recgauntlet.core.card import TIERS
from recgauntlet.core.errors import PluginError
from recgauntlet.core.plugins import names
from recgauntlet.core.source import source_files, source_hash
from recgauntlet.core.spec import CellSpec
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.metrics.ranking import correct
from recgauntlet.records.manifest import Finding
from recgauntlet.records.outline import lacks_curves, lacks_high_tier, lacks_threats
from recgauntlet.records.ranking_quality import catalog_quality, ranking_quality
from recgauntlet.records.reruns import drawn
from recgauntlet.records.schema import Clean, RunRecord, robust_accuracy
from recgauntlet.records.submission.manifest import Submission
from recgauntlet.records.submission.reader import Opened
from recgauntlet.runner.engine import LocalEngine
from recgauntlet.runner.plan import plan
from recgauntlet.runner.processes import Watcher
from recgauntlet.runner.sandbox.limits import Allowance
from recgauntlet.runner.submission.pack import GROUPS
from recgauntlet.runner.sweep import run_sweep
from recgauntlet.runner.trained import Sources

CLEAN_POINTS = 2.0
ROBUST_POINTS = 4.0
"""Percentage points by which accuracies (and AUC of lists, by the first) of the same cell may differ between machines.
On one machine they are the same; on another, sums are rounded in another order, and training drifts apart like another
seed."""


class Rerun(NamedTuple):
    """Whether all clean scores of a cell, of pairs and of both kinds of lists, were the same to the last bit when it
    was run again, and what differs too much."""

    same: bool
    findings: tuple[Finding, ...]
    again: RunRecord | None = None
    """What came out; None where no cell was run."""


def source_finding(manifest: Submission) -> Finding | None:
    """Why the plugin that is installed here may not stand for the submitted one; None where it is the same."""
    kind, name = GROUPS[manifest.plugin.kind], manifest.plugin.name
    problem = ""
    try:
        if name not in names(kind):
            problem = f"the {manifest.plugin.kind} {name} is not installed here"
        elif source_hash(source_files(kind, name)) != manifest.plugin.source_sha256:
            problem = f"the {name} installed here has another source"
    except PluginError as error:
        problem = error.problem
    return Finding("source/", "", f"no cell was run again: {problem}") if problem else None


def draw(opened: Opened, manifest: Submission, lot: int) -> str:
    """The path of the record that `lot` falls on, among those of the plugin."""
    return drawn({path: record for path, record in opened.records.items() if manifest.owns(record)}, lot)


def rerun(
    path: str,
    record: RunRecord,
    out: Path,
    sources: Sources,
    watcher: Watcher,
    *,
    device: str = "auto",
    allowance: Allowance | None = None,
) -> Rerun:
    """Run the record's cell, and its twin, behind their fence in the directory `out`, and compare."""
    spec = CellSpec(
        task=record.task.id,
        track=record.task.track,
        model=record.model.name,
        defense=record.defense.name,
        seed=record.seed,
        out=out,
        source=sources(record.task.id),
        device=device,
        precision=record.environment.precision,
        threads=record.environment.threads,
        devices=1 if record.cost is None else record.cost.devices,
        model_options=tuple(sorted(record.model.hyperparameters.items())),
        defense_options=tuple(sorted(record.defense.hyperparameters.items())),
        poison_attacks=record.poisoning[0].chosen if record.poisoning else (),
        test_pairs=None if record.first_pairs is None else record.first_pairs.pairs,
        high_tier=not lacks_high_tier(record),
        curves=not lacks_curves(record),
        left_out=lacks_threats(record, find_task_or_card(record.task.id).card),
    )
    records = run_sweep([cell.spec for cell in plan([spec])], watcher, LocalEngine(allowance=allowance, sandbox="auto"))
    again = next(r for r in records if (r.defense.name, r.model.name) == (spec.defense, spec.model))
    findings = tuple(Finding(path, field, problem) for field, problem in _differences(record, again))
    same = record.clean is not None and record.clean == again.clean
    return Rerun(same, findings, again)


def _differences(record: RunRecord, again: RunRecord) -> Iterator[tuple[str, str]]:
    if again.failure is not None or again.clean is None or record.clean is None:
        yield "status", f"failed when it was run again: {again.failure.message if again.failure else 'no scores'}"
        return
    if record.clean.labels != again.clean.labels:
        yield "clean.labels", "are not those of the cell run again"
        return
    labels = record.clean.labels.to_bool()
    accuracies = [100 * float(np.mean(correct(labels, part.scores.to_float()))) for part in (record.clean, again.clean)]
    if abs(accuracies[0] - accuracies[1]) > CLEAN_POINTS:
        yield "clean.scores", _apart("accuracy", accuracies, CLEAN_POINTS)
    yield from _list_differences(record.clean, again.clean)
    found = {(threat.id, tier.tier): tier for threat in again.threats for tier in threat.tiers}
    for threat in record.threats:
        for tier in threat.tiers:
            other = found.get((threat.id, tier.tier))
            if other is None:
                yield f"threats.{threat.id}.{tier.tier}", "is not there when the cell is run again"
                continue
            shares = [100 * robust_accuracy(part) for part in (tier, other)]
            if abs(shares[0] - shares[1]) > ROBUST_POINTS:
                yield f"threats.{threat.id}.{tier.tier}.robust", _apart("robust accuracy", shares, ROBUST_POINTS)
    yield from _poisoning_differences(record, again)


def _list_differences(clean: Clean, again: Clean) -> Iterator[tuple[str, str]]:
    """AUC of the test impressions, and of those with candidates drawn by popularity."""
    if (clean.impression_labels, clean.impression_sizes) != (again.impression_labels, again.impression_sizes):
        yield "clean.impression_labels", "are not those of the cell run again"
    else:
        yield from _auc_difference(clean, again, "clean.impression_scores", popular=False)
    yield from _catalog_difference(clean, again)
    if clean.popular is None and again.popular is None:
        return
    if clean.popular is None or again.popular is None:
        yield "clean.popular", "is there in one of the two records alone"
    elif (clean.popular.labels, clean.popular.sizes) != (again.popular.labels, again.popular.sizes):
        yield "clean.popular.labels", "are not those of the cell run again"
    else:
        yield from _auc_difference(clean, again, "clean.popular.scores", popular=True)


def _catalog_difference(clean: Clean, again: Clean) -> Iterator[tuple[str, str]]:
    """Recall@10 among all items. Records from before it was measured have none."""
    if clean.catalog is None or again.catalog is None:
        return
    if clean.catalog.others != again.catalog.others:
        yield "clean.catalog.others", "are not those of the cell run again"
        return
    values = [100 * catalog_quality(part).recall10 for part in (clean.catalog, again.catalog)]
    if abs(values[0] - values[1]) > CLEAN_POINTS:
        yield "clean.catalog.above", _apart("recall@10 among all items", values, CLEAN_POINTS)


def _auc_difference(clean: Clean, again: Clean, field: str, *, popular: bool) -> Iterator[tuple[str, str]]:
    values = [100 * ranking_quality(part, popular=popular).auc for part in (clean, again)]
    if abs(values[0] - values[1]) > CLEAN_POINTS:
        yield field, _apart("AUC", values, CLEAN_POINTS)


def _poisoning_differences(record: RunRecord, again: RunRecord) -> Iterator[tuple[str, str]]:
    """Robust accuracy under attacks on training data."""
    for one in record.poisoning:
        other = next((found for found in again.poisoning if found.threat == one.threat), None)
        if other is None or other.reason != one.reason:
            yield f"poisoning.{one.threat}", "is not there, or has another reason, when the cell is run again"
            continue
        for tier in TIERS:
            pairs = [part.robust_pairs(tier) for part in (one, other)]
            found = [100 * part.accuracy() for part in pairs if part is not None]
            if len(found) == 1:
                yield f"poisoning.{one.threat}.{tier}", "is there in one of the two records alone"
            elif found and abs(found[0] - found[1]) > ROBUST_POINTS:
                yield f"poisoning.{one.threat}.{tier}", _apart("robust accuracy", found, ROBUST_POINTS)


def _apart(what: str, values: list[float], most: float) -> str:
    return f"{what} is {values[0]:.1f} % in the record and {values[1]:.1f} % run again, more than {most:g} points apart"
