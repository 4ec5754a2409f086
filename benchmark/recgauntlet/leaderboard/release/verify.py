"""Verifying a release: the checksums of its files, every record, and its summary computed again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.best_known import without_record
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.explanations import misplaced
from recgauntlet.leaderboard.release import poison_tables
from recgauntlet.leaderboard.release.summary import (
    count,
    differing,
    frozen_tasks,
    key_of,
    mixed_settings,
    row_name,
    summary_rows,
)
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.records.best_known import parse_best_known
from recgauntlet.records.digest import load_json
from recgauntlet.records.explanations import parse_explanation
from recgauntlet.records.io import read_record, read_records
from recgauntlet.records.manifest import (
    MANIFEST,
    RANKS,
    SUBMISSIONS,
    Counts,
    Finding,
    FrozenFile,
    Manifest,
    SummaryRow,
    frozen_content,
    read_manifest,
    unlisted_files,
)
from recgauntlet.records.reruns import confirmed, reruns_path
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.submission.reader import open_merged

Progress = Callable[[str, float], None]


def frozen_releases(root: Path) -> list[Path]:
    """The directories right below `root` that have the manifest of a release, whole or broken."""
    return sorted(path.parent for path in root.glob(f"*/{MANIFEST}") if not path.parent.name.startswith("."))


def verify_release(directory: Path, *, progress: Progress = lambda what, share: None) -> tuple[Finding, ...]:
    """Every problem of the release, file by file; empty where there is none.

    Checksums, the schema, digest and columns of every record, evaluation settings, and the summary, which is computed
    from the records again.
    """
    progress("checksums", 0.0)
    findings = changed_files(directory)
    try:
        manifest = read_manifest(directory / MANIFEST)
    except RecordError:
        return tuple(findings)  # changed_files has named it
    known = {finding.path for finding in findings}
    records: list[RunRecord] = []
    for file in manifest.files:
        progress(file.path, 0.1 + 0.5 * len(records) / max(1, manifest.counts.records))
        if file.kind == "record":
            try:
                records.append(_record(directory, file))
            except RecordError as error:
                if shown(directory / file.path) not in known:
                    findings.append(Finding(shown(directory / file.path), error.field or "", error.problem))
    place = shown(directory / MANIFEST)
    progress("fingerprints", 0.6)
    findings += [Finding(place, where, problem) for where, problem in _facts(manifest, directory, records)]
    broken = poison_tables.faults(manifest, directory, records)
    findings += [Finding(shown(directory / path), "", problem) for path, problem in broken]
    findings += _reruns(directory)
    progress("summary", 0.65)
    if len(records) == manifest.counts.records and not mixed_settings(records):
        again = summary_rows(build_table(records))
        findings += [Finding(place, where, problem) for where, problem in _rows(manifest, again)]
    else:
        findings.append(Finding(place, "summary", "cannot be computed again: not all of its records are there"))
    progress("done", 1.0)
    return tuple(findings)


def changed_files(directory: Path) -> list[Finding]:
    """Everything in which a release differs from its manifest: files missing, changed or not listed, and the same for
    each submission that was added to it."""
    try:
        manifest = read_manifest(directory / MANIFEST)
    except RecordError as error:
        return [Finding(shown(directory / MANIFEST), error.field or "", error.problem)]
    found = []
    if manifest.name != directory.resolve().name:
        problem = f"says {manifest.name!r}, the directory is {directory.resolve().name!r}"
        found.append(Finding(shown(directory / MANIFEST), "name", problem))
    paths = [file.path for file in manifest.files]
    for path in sorted({path for path in paths if paths.count(path) > 1}):
        found.append(Finding(shown(directory / MANIFEST), "files", f"lists {path} more than once"))
    for file in manifest.files:
        try:
            frozen_content(directory, file)
        except RecordError as error:
            found.append(Finding(shown(directory / file.path), error.field or "", error.problem))
    found += [Finding(shown(path), "", "is not listed in the manifest") for path in unlisted_files(directory, manifest)]
    return found + _submissions(directory / SUBMISSIONS)


def _record(directory: Path, file: FrozenFile) -> RunRecord:
    path = directory / file.path
    record = read_record(path)
    if record.digest != file.record:
        raise RecordError(
            f"its digest is {record.digest[:12]}, the manifest says {file.record[:12]}",
            where=path,
            field="digest",
            remedy="restore it",
        )
    return record


def _facts(manifest: Manifest, directory: Path, records: list[RunRecord]) -> Iterator[tuple[str, str]]:
    """Fields of the manifest that contradict the records."""
    for number, why in mixed_settings(records).items():
        record = records[number]
        yield "tasks", f"{record.task.id} {record.model.name} {record.defense.name} seed {record.seed}: {why}"
    found = {(task.id, task.track): task for task in frozen_tasks(records)}
    for task in manifest.tasks:
        other = found.pop((task.id, task.track), None)
        if other is None:
            yield f"tasks.{task.id}", "has no records"
            continue
        for name in sorted(type(task).model_fields):
            if getattr(task, name) != getattr(other, name):
                yield f"tasks.{task.id}.{name}", f"is {getattr(task, name)}, the records say {getattr(other, name)}"
    for missing in found.values():
        yield "tasks", f"leaves out {missing.id} ({missing.track}), of which there are {missing.records} records"
    known, explained = (sum(file.kind == kind for file in manifest.files) for kind in ("best-known", "explanation"))
    counts = count(records, known, explained, manifest.summary)
    for name in sorted(Counts.model_fields):
        if getattr(counts, name) != getattr(manifest.counts, name):
            yield f"counts.{name}", f"is {getattr(manifest.counts, name)}, there are {getattr(counts, name)}"
    if manifest.attack_scores and not all(record.has_attack_scores for record in records):
        yield "attack_scores", "is true, and there are records without"
    sources = {file.source for file in manifest.files if file.kind == "record"}
    for number, file in enumerate(manifest.weights.files if manifest.weights else ()):
        if file.record not in sources:
            yield f"weights.files.{number}", f"{file.path} belongs to no record of the release"
    yield from _best_known(manifest, directory, records)
    yield from _explanations(manifest, directory, records)


def _reruns(directory: Path) -> list[Finding]:
    """What is wrong with the file of cells that were run again."""
    path = reruns_path(directory)
    try:
        if path.is_file():
            confirmed(directory, read_records(directory))
    except RecordError as error:
        return [Finding(shown(path), error.field or "", error.problem)]
    return []


def _best_known(manifest: Manifest, directory: Path, records: list[RunRecord]) -> Iterator[tuple[str, str]]:
    known = []
    for file in manifest.files:
        path = directory / file.path
        if file.kind == "best-known" and path.is_file():
            try:
                known.append(parse_best_known(load_json(path, "a best known attack", "restore it"), path))
            except RecordError as error:
                yield file.path, error.problem
    for one in without_record(records, known):
        yield (
            "files",
            f"the best known attack {one.attack.name} ({one.digest[:12]}) challenges no record of the release",
        )


def _explanations(manifest: Manifest, directory: Path, records: list[RunRecord]) -> Iterator[tuple[str, str]]:
    for file in manifest.files:
        path = directory / file.path
        if file.kind == "explanation" and path.is_file():
            try:
                found = parse_explanation(load_json(path, "an explanation", "restore it"), path)
            except RecordError as error:
                yield file.path, error.problem
            else:
                if (why := misplaced(records, found)) is not None:
                    yield file.path, f"{why.field}: {why.problem}"


def _rows(manifest: Manifest, again: Sequence[SummaryRow]) -> Iterator[tuple[str, str]]:
    """The rows of the manifest that are not those computed `again`. Ranks by another rule, and the order that follows
    from them, are not compared."""
    frozen, same_rule = manifest.summary, manifest.ranks == RANKS
    if not same_rule:
        places = {_identity(row): place for place, row in enumerate(frozen)}
        again = sorted(again, key=lambda row: places.get(_identity(row), len(places)))
    if [key_of(row) for row in frozen] != [key_of(row) for row in again]:
        yield "summary", f"does not have the {len(again)} rows of the records, in their order"
        return
    for number, (was, now) in enumerate(zip(frozen, again, strict=True)):
        for name in differing(was, now):
            if name == "rank" and not same_rule:
                continue
            yield (
                f"summary.{number}.{name}",
                f"{row_name(was)}: is {_text(getattr(was, name))}, the records give {_text(getattr(now, name))}",
            )


def _identity(row: SummaryRow) -> tuple[object, ...]:
    return (*key_of(row), row.model.version, row.defense.version)


def _text(value: object) -> str:
    return f"{value.value:.6f} [{value.low:.6f}, {value.high:.6f}]" if isinstance(value, Estimate) else str(value)


def _submissions(directory: Path) -> list[Finding]:
    """The findings on the submissions added to a release, a directory each."""
    found = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        if path.is_dir():
            found += [replace(finding, path=shown(path / finding.path)) for finding in open_merged(path).findings]
        else:
            found.append(Finding(shown(path), "", "is no directory of a submission"))
    return found


def shown(path: Path) -> str:
    """The path as a reader sees it: from where they stand, if it lies below. Links are not followed."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100  resolve() would name what a link points to
    return whole.relative_to(Path.cwd()).as_posix() if whole.is_relative_to(Path.cwd()) else str(whole)
