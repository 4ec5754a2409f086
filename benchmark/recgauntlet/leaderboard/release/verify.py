"""Verifying a release: the checksums of its files, every record, and its summary computed again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.best_known import without_record
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.release.summary import (
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
from recgauntlet.records.io import read_record
from recgauntlet.records.manifest import (
    MANIFEST,
    SUBMISSIONS,
    Counts,
    Finding,
    FrozenFile,
    Manifest,
    SummaryRow,
    frozen_content,
    is_manifest,
    read_manifest,
    unlisted_files,
)
from recgauntlet.records.schema import RunRecord

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
    progress("summary", 0.65)
    if len(records) == manifest.counts.records and not mixed_settings(records):
        again = summary_rows(build_table(records))
        findings += [Finding(place, where, problem) for where, problem in _rows(manifest.summary, again)]
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
    found += _against(directory, manifest)
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
    """Fields of the manifest that are not what the records say."""
    for number, (_, why) in mixed_settings(records).items():
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
    counts = Counts(
        records=len(records),
        failed=sum(record.status == "failed" for record in records),
        best_known=sum(file.kind == "best-known" for file in manifest.files),
        rows=len(manifest.summary),
    )
    for name in sorted(Counts.model_fields):
        if getattr(counts, name) != getattr(manifest.counts, name):
            yield f"counts.{name}", f"is {getattr(manifest.counts, name)}, there are {getattr(counts, name)}"
    emptied = any(
        not attack.scores.n and attack.attacked.to_bool().any()
        for record in records
        for threat in record.threats
        for tier in threat.tiers
        for attack in tier.attacks
    )
    if manifest.attack_scores and emptied:
        yield "attack_scores", "is true, and there are records without"
    yield from _best_known(manifest, directory, records)


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


def _rows(frozen: tuple[SummaryRow, ...], again: tuple[SummaryRow, ...]) -> Iterator[tuple[str, str]]:
    if [key_of(row) for row in frozen] != [key_of(row) for row in again]:
        yield "summary", f"does not have the {len(again)} rows of the records, in their order"
        return
    for number, (was, now) in enumerate(zip(frozen, again, strict=True)):
        for name in differing(was, now):
            yield (
                f"summary.{number}.{name}",
                f"{row_name(was)}: is {_told(getattr(was, name))}, the records give {_told(getattr(now, name))}",
            )


def _told(value: object) -> str:
    if isinstance(value, Estimate):
        return f"{value.value:.6f} [{value.low:.6f}, {value.high:.6f}]"
    return str(value)


def _against(directory: Path, manifest: Manifest) -> list[Finding]:
    found = []
    for file in manifest.files:
        try:
            frozen_content(directory, file)
        except RecordError as error:
            found.append(Finding(shown(directory / file.path), error.field or "", error.problem))
    return found


def _submissions(directory: Path) -> list[Finding]:
    """The findings on the submissions added to a release: each is a directory with a manifest of its own, a JSON object
    whose `files` are objects with `path` and `sha256`."""
    found = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        if not path.is_dir():
            found.append(Finding(shown(path), "", "is no directory of a submission"))
        elif not (path / MANIFEST).is_file():
            found.append(Finding(shown(path), "", f"is a submission without its own {MANIFEST}"))
        else:
            found += _submission(path)
    return found


def _submission(directory: Path) -> list[Finding]:
    manifest = directory / MANIFEST
    try:
        content = load_json(manifest, "a manifest", "restore it")
        if is_manifest(content):
            return changed_files(directory)
        sums = {str(file["path"]): str(file["sha256"]) for file in content["files"]}
    except RecordError as error:
        return [Finding(shown(manifest), error.field or "", error.problem)]
    except (KeyError, TypeError):
        return [Finding(shown(manifest), "files", "is no list of objects with path and sha256")]
    found = []
    there = {
        path.relative_to(directory).as_posix(): path
        for path in directory.rglob("*")
        if not path.is_dir() and path != manifest
    }
    for name, wanted in sorted(sums.items()):
        path = there.pop(name, None)
        if path is None:
            found.append(Finding(shown(directory / name), "", "is in the submission's manifest and missing"))
        elif hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            found.append(Finding(shown(path), "sha256", "was changed after it was submitted"))
    return found + [
        Finding(shown(path), "", "is not listed in the submission's manifest") for _, path in sorted(there.items())
    ]


def shown(path: Path) -> str:
    """The path as a reader sees it: from where they stand, if it lies below. Links are not followed."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100  resolve() would name what a link points to
    return whole.relative_to(Path.cwd()).as_posix() if whole.is_relative_to(Path.cwd()) else str(whole)
