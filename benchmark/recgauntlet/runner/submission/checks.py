"""Checks of a submission that do not run its plugin; all findings are reported together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.source import source_hash
from recgauntlet.core.spec import TWIN
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.leaderboard.release.summary import differing, key_of, row_name
from recgauntlet.metrics.ranking import correct
from recgauntlet.records.comparability import EvaluationSetting
from recgauntlet.records.manifest import MANIFEST, Finding, SummaryRow
from recgauntlet.records.outline import lacks_curves, lacks_high_tier, lacks_threats
from recgauntlet.records.schema import RunRecord, ThreatOutcome
from recgauntlet.records.submission.manifest import Submission
from recgauntlet.records.submission.reader import Opened
from recgauntlet.runner.submission.pack import lacking, summary_of_records


def static_findings(opened: Opened, *, current: bool = True) -> tuple[Finding, ...]:
    """Schema, sums, fingerprints, the recipe and its seeds, outcomes against scores, and the summary computed again.

    `current`: also that the cards and the suite are those installed here, as a new submission's must be.
    """
    findings = list(opened.findings)
    manifest = opened.manifest
    if manifest is None:
        return tuple(findings)
    findings += _source(opened, manifest)
    findings += _recipe(opened, manifest)
    for path, record in opened.records.items():
        findings += [Finding(path, field, problem) for field, problem in _record(record, path, manifest)]
        findings += [Finding(path, field, problem) for field, problem in _made_by(record, manifest, current)]
        findings += [Finding(path, field, problem) for field, problem in _outcomes(record)]
        if current:
            findings += [Finding(path, field, problem) for field, problem in not_installed(record)]
    findings += _together(opened)
    if opened.records and not opened.findings:
        findings += _summary(manifest, summary_of_records(list(opened.records.values())))
    return tuple(findings)


def _source(opened: Opened, manifest: Submission) -> Iterator[Finding]:
    files = {
        name.removeprefix("source/"): content for name, content in opened.files.items() if name.startswith("source/")
    }
    if not files:
        yield Finding("source/", "", "is empty: a submission holds the plugin's source")
    elif source_hash(files) != manifest.plugin.source_sha256:
        yield Finding(MANIFEST, "plugin.source_sha256", "is not the hash of the files in source/")


def _recipe(opened: Opened, manifest: Submission) -> Iterator[Finding]:
    recipe, plugin = manifest.recipe, manifest.plugin
    wanted = set(recipe.cells())
    found: dict[tuple[str, str, str, int], str] = {}
    for path, record in opened.records.items():
        cell = (record.task.id, record.model.name, record.defense.name, record.seed)
        if cell in found:
            yield Finding(path, "", f"is the same cell as {found[cell]}")
        elif cell not in wanted:
            yield Finding(path, "", "is no cell of the recipe")
        found.setdefault(cell, path)
    for cell in sorted(wanted - set(found)):
        yield Finding(MANIFEST, "recipe", f"has a cell without a record: {' '.join(map(str, cell))}")
    names = recipe.defenses if plugin.kind == "defense" else recipe.models
    if plugin.name not in names:
        yield Finding(MANIFEST, "recipe", f"has no cell of {plugin.name}")
    if TWIN not in recipe.defenses:
        yield Finding(MANIFEST, "recipe.defenses", f"lacks {TWIN}, the undefended twin")
    for field in ("tasks", "models", "defenses", "seeds"):
        values = getattr(recipe, field)
        if not values or len(set(values)) != len(values):
            yield Finding(MANIFEST, f"recipe.{field}", "is empty or names something twice")
    for field, left_out in lacking(recipe, plugin.kind).items():
        yield Finding(MANIFEST, f"recipe.{field}", f"lacks {', '.join(left_out)} of the fixed recipe")


def _record(record: RunRecord, path: str, manifest: Submission) -> Iterator[tuple[str, str]]:
    """What of a record contradicts the manifest."""
    plugin = manifest.plugin
    if record.status == "failed":
        yield "status", "is of a failed cell"
    elif record.first_pairs is not None:
        yield "first_pairs", "is there, but a submission is attacked on all test pairs: run it without --test-pairs"
    elif lacks_high_tier(record):
        yield "threats", "have no high tier, but a submission is attacked at all: run it without --no-high-tier"
    elif lacks_curves(record):
        yield "threats", "have no security curves, which a submission has: run it without --no-curves"
    elif record.cost is None:
        yield "cost", "is missing, but each cell of a submission is trained: pack it again with recgauntlet submit"
    place = PurePosixPath(path).parts
    if place[1:3] != (record.task.id, record.task.track):
        yield "task", f"says {record.task.id} ({record.task.track}), which is not where the file lies"
    if record.task.track != manifest.recipe.track:
        yield "task.track", f"is not that of the recipe ({manifest.recipe.track})"
    if record.suite != manifest.recipe.suite:
        yield "suite", "is not that of the recipe"
    ref = record.defense if plugin.kind == "defense" else record.model
    shipped = (plugin.distribution, plugin.version)
    if ref.name == plugin.name and (ref.distribution, ref.version) != shipped:
        yield plugin.kind, f"was shipped by {ref.distribution} {ref.version}, the manifest says {' '.join(shipped)}"


def _made_by(record: RunRecord, manifest: Submission, current: bool) -> Iterator[tuple[str, str]]:
    """Whether a record was made by the source in the archive. Submissions that were merged before records had the hash
    of the source may be without (`current` is false)."""
    kind = manifest.plugin.kind
    ref = record.defense if kind == "defense" else record.model
    if ref.name == manifest.plugin.name and ref.source != manifest.plugin.source_sha256 and (ref.source or current):
        yield f"{kind}.source", f"is {ref.source[:12] or 'not given'}, the source of the submission has another hash"


def not_installed(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Where a record is not of the task and the suite that are installed here."""
    if record.suite != suite_ref():
        found, here = (f"{s.id} {s.version} ({s.fingerprint[:12]})" for s in (record.suite, suite_ref()))
        yield "suite.fingerprint", f"is of {found}, installed is {here}"
    try:
        card = find_task_or_card(record.task.id).card
        track = card.track(record.task.track)
    except RecGauntletError as error:
        yield "task.id", error.problem
        return
    if record.task.fingerprint != card.fingerprint(record.task.track):
        yield "task.fingerprint", f"is not that of the installed card of {card.id}, version {card.version}"
    elif record.status == "ok" and (missing := lacks_threats(record, card)):
        yield "threats", f"lack {', '.join(missing)}: run it without --leave-out"
    if track.fingerprint and record.task.data_fingerprint != track.fingerprint:
        yield "task.data_fingerprint", "is not that of the data that the card names"


def _outcomes(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Whether outcomes follow from scores: an example is robust if it is right and nothing broke it, and broken only
    by a score on the wrong side."""
    if record.clean is None:
        return
    labels, scores = record.clean.labels.to_bool(), record.clean.scores.to_float()
    right = correct(labels, scores) & (scores != 0)  # 0 may be a small score, rounded
    for threat in record.threats:
        yield from _threat_outcomes(threat, labels, right)


def _threat_outcomes(threat: ThreatOutcome, labels: np.ndarray, right: np.ndarray) -> Iterator[tuple[str, str]]:
    broken_before = np.zeros_like(right)
    for tier in threat.tiers:
        place = f"threats.{threat.id}.{tier.tier}"
        for attack in tier.attacks:
            attacked, broken = attack.attacked.to_bool(), attack.broken.to_bool()
            given = attack.scores.to_float()
            if len(given) not in (0, int(attacked.sum())):
                yield f"{place}.{attack.name}.scores", "are not one an attacked example"
            elif len(given):
                wrong = ~correct(labels[attacked], given) | (given == 0)  # 0 may be a small score, rounded
                if (broken[attacked] & ~wrong).any():
                    yield f"{place}.{attack.name}", "broke examples by scores on the right side"
            broken_before = broken_before | broken
        if (tier.robust.to_bool() & broken_before).any():
            yield f"{place}.robust", "counts examples that an attack broke"
        missing = right & ~broken_before & ~tier.robust.to_bool()
        if missing.any():
            yield f"{place}.robust", f"leaves out {int(missing.sum())} examples that nothing broke"


def _together(opened: Opened) -> Iterator[Finding]:
    """Where records of one task contradict each other, or the seeds of one row."""
    settings: dict[str, tuple[str, EvaluationSetting]] = {}
    plugins: dict[tuple[str, str, str], tuple[str, dict[str, object]]] = {}
    weights: dict[tuple[object, str], str] = {}
    for path, record in opened.records.items():
        setting = EvaluationSetting.of(record)
        first = settings.setdefault(record.task.id, (path, setting))
        if first[1] != setting:
            yield Finding(path, "task", f"may not stand beside {first[0]}: {'; '.join(first[1].unlike(setting))}")
        row = (record.task.id, record.model.name, record.defense.name)
        own: dict[str, object] = {
            "hyperparameters": (record.model.hyperparameters, record.defense.hyperparameters),
            "source": (record.model.source, record.defense.source),
        }
        first_path, known = plugins.setdefault(row, (path, own))
        for field in (field for field in own if own[field] != known[field]):
            yield Finding(path, f"defense.{field}", f"of model or defense differ from {first_path}, a seed of this row")
        # a defense at inference alone has the weights of its twin, but no seed has those of another
        drawn = (row, record.weights_sha256)
        if record.weights_sha256 and drawn in weights:
            yield Finding(path, "weights_sha256", f"are the weights of {weights[drawn]}, another seed")
        weights.setdefault(drawn, path)


def _summary(manifest: Submission, again: Sequence[SummaryRow]) -> Iterator[Finding]:
    """Where the manifest's summary differs from that of the records."""
    given, found = ({key_of(row): row for row in rows} for rows in (manifest.summary, again))
    for key in sorted(set(given) | set(found)):
        if key not in found:
            yield Finding(MANIFEST, "summary", f"has a row that no record makes: {row_name(given[key])}")
        elif key not in given:
            yield Finding(MANIFEST, "summary", f"lacks the row {row_name(found[key])}")
        else:
            for field in differing(given[key], found[key]):
                yield Finding(MANIFEST, f"summary.{field}", f"of {row_name(given[key])} is not what its records make")
