"""Verifying a release from the ground up: every sum, digest, column and fingerprint, and its summary once more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.best_known import without_record
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.release.frozen import Finding, changed_files, changes_in_history, shown
from recgauntlet.leaderboard.release.summary import (
    differing,
    frozen_tasks,
    key_of,
    mixed_grounds,
    row_name,
    summary_rows,
)
from recgauntlet.records.best_known import parse_best_known
from recgauntlet.records.digest import load_json
from recgauntlet.records.manifest import MANIFEST, Counts, FrozenFile, Interval, Manifest, SummaryRow, read_manifest
from recgauntlet.records.packed_cells import read_cell, read_words
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.validate import check_record

Told = Callable[[str, float], None]


def verify_release(directory: Path, *, progress: Told = lambda what, share: None) -> tuple[Finding, ...]:
    """Everything in the release that does not check out, file by file; empty where all does.

    Nothing is taken on trust: records are unpacked, validated, their digests and columns checked, and the summary is
    computed from them again. Git's history is asked where there is one.
    """
    progress("sums", 0.0)
    findings = changed_files(directory)
    findings += changes_in_history(directory.parent, only=directory.resolve().name).findings
    try:
        manifest = read_manifest(directory / MANIFEST)
    except RecordError:
        return tuple(findings)  # changed_files has told it
    known = {finding.path for finding in findings}
    records: list[RunRecord] = []
    words: dict[PurePosixPath, dict[str, bytes]] = {}
    for file in sorted(manifest.files, key=lambda file: (file.kind != "words", file.path)):
        progress(file.path, 0.1 + 0.5 * len(records) / max(1, manifest.counts.records))
        try:
            folder = PurePosixPath(file.path).parent
            if file.kind == "words":
                words[folder] = read_words(directory / folder)
            elif file.kind == "columns":
                records.append(_record(directory, file, words.get(folder, {})))
        except RecordError as error:
            if shown(directory / file.path) not in known:
                findings.append(Finding(shown(directory / file.path), error.field or "", error.problem))
    place = shown(directory / MANIFEST)
    progress("fingerprints", 0.6)
    findings += [Finding(place, where, problem) for where, problem in _facts(manifest, directory, records)]
    progress("summary", 0.65)
    if len(records) == manifest.counts.records and not mixed_grounds(records):
        again = summary_rows(build_table(records))
        findings += [Finding(place, where, problem) for where, problem in _rows(manifest.summary, again)]
    else:
        findings.append(Finding(place, "summary", "cannot be computed again: not all of its records are there"))
    progress("done", 1.0)
    return tuple(findings)


def _record(directory: Path, file: FrozenFile, words: Mapping[str, bytes]) -> RunRecord:
    path = directory / file.path
    record = read_cell(path, words)
    check_record(record, path)
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
    for number, (_, why) in mixed_grounds(records).items():
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
    if isinstance(value, Interval):
        return f"{value.value:.6f} [{value.low:.6f}, {value.high:.6f}]"
    return str(value)
