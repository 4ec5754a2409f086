"""A submission opened: its manifest and records, from an archive or a merged directory, and what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from recgauntlet.core.errors import RecordError
from recgauntlet.records.manifest import MANIFEST
from recgauntlet.records.schema import RunRecord, parse_record
from recgauntlet.records.squeezed import unsqueezed
from recgauntlet.records.submission.archive import allowed_name, read_archive, sum_of
from recgauntlet.records.submission.manifest import Submission, parse_submission
from recgauntlet.records.validate import check_record

LARGEST_RECORD = 64_000_000
"""Bytes that a record may unfold to."""


@dataclass(frozen=True)
class Finding:
    """Something that does not check out: the file ("" for the whole), the field ("" for the whole file), and what."""

    path: str
    field: str
    problem: str

    def __str__(self) -> str:
        place = ": ".join(part for part in (self.path, self.field) if part)
        return f"{place}: {self.problem}" if place else self.problem


@dataclass(frozen=True)
class Opened:
    """`records` by their path, good ones alone; `files` as they came; `findings` what is wrong with the rest."""

    manifest: Submission | None
    files: Mapping[str, bytes]
    records: Mapping[str, RunRecord]
    findings: tuple[Finding, ...]


def open_archive(path: Path) -> Opened:
    """The submission in an archive.

    Raises
    ------
    RecordError
        Where there is no archive.
    """
    files, faults = read_archive(path)
    return _opened(files, [Finding(fault.path, "", fault.problem) for fault in faults], path)


def open_merged(directory: Path) -> Opened:
    """The submission that was merged as the files of `directory`."""
    files, findings = {}, []
    for path in sorted(directory.rglob("*")):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            findings.append(Finding(name, "", "is no regular file"))
        elif path.is_file() and allowed_name(name):
            files[name] = path.read_bytes()
        elif path.is_file():
            findings.append(Finding(name, "", "has a name that no file of a submission has"))
    return _opened(files, findings, directory)


def _opened(files: dict[str, bytes], findings: list[Finding], where: Path) -> Opened:
    manifest = None
    if MANIFEST not in files:
        findings.append(Finding(MANIFEST, "", "is missing"))
    else:
        try:
            content = json.loads(files[MANIFEST])
            if not isinstance(content, dict):
                raise RecordError("is no JSON object", remedy="")
            manifest = parse_submission(content, where)
        except RecordError as error:
            findings.append(Finding(MANIFEST, error.field or "", error.problem))
        except (ValueError, RecursionError) as error:
            findings.append(Finding(MANIFEST, "", f"is no JSON ({type(error).__name__})"))
    if manifest is not None:
        findings += _sums(manifest, files)
    records: dict[str, RunRecord] = {}
    for name in sorted(files):
        if name.startswith("records/"):
            try:
                records[name] = _record(name, files[name])
            except RecordError as error:
                findings.append(Finding(name, error.field or "", error.problem))
    return Opened(manifest, files, records, tuple(findings))


def _sums(manifest: Submission, files: Mapping[str, bytes]) -> list[Finding]:
    """In what the files differ from the manifest."""
    listed = {file.path: file for file in manifest.files}
    found = [Finding(MANIFEST, "files", "names a file twice")] if len(listed) != len(manifest.files) else []
    for name, file in sorted(listed.items()):
        if name not in files:
            found.append(Finding(name, "", "is listed in the manifest and missing"))
        elif sum_of(files[name]) != file.sha256:
            found.append(Finding(name, "sha256", "is not the file that the manifest lists"))
    strays = sorted(set(files) - set(listed) - {MANIFEST})
    return found + [Finding(name, "", "is not listed in the manifest") for name in strays]


def _record(name: str, content: bytes) -> RunRecord:
    where = Path(name)
    try:
        said = json.loads(unsqueezed(content, where, limit=LARGEST_RECORD))
    except (ValueError, RecursionError) as error:
        raise RecordError(f"is no JSON ({type(error).__name__})", where=where, remedy="pack it again") from error
    if not isinstance(said, dict):
        raise RecordError("is no record", where=where, remedy="pack it again")
    record = parse_record(said, where)
    check_record(record, where)
    return record
