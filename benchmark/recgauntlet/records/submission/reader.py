"""Reading a submission, from an archive or a merged directory: its manifest, its records and all that is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from recgauntlet.core.errors import RecordError
from recgauntlet.records.digest import parse_json
from recgauntlet.records.manifest import MANIFEST, Finding
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.submission.archive import allowed_name, read_archive, sum_of
from recgauntlet.records.submission.manifest import REMEDY, Submission, parse_submission
from recgauntlet.records.validate import parse_record

LARGEST_RECORD = 64_000_000
"""Bytes of a record after decompression."""


@dataclass(frozen=True)
class Opened:
    """`records` by their path, good ones alone; `files` as they came; `findings` what is wrong with the rest."""

    manifest: Submission | None
    files: Mapping[str, bytes]
    records: Mapping[str, RunRecord]
    findings: tuple[Finding, ...]


def open_archive(path: Path) -> Opened:
    """The submission in an archive.

    Raises RecordError where there is no archive.
    """
    files, faults = read_archive(path)
    return _opened(files, list(faults), path)


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


def merged_records(directory: Path) -> Iterator[tuple[Path, RunRecord | RecordError]]:
    """The files of a merged submission with the records of its own plugin, or why they are broken.

    Records of undefended twins and of other models are left out: the release has rows of its own for them.
    """
    opened = open_merged(directory)
    for finding in opened.findings:
        path = directory / finding.path
        remedy = "restore the submission from where it was published"
        yield path, RecordError(finding.problem, where=path, field=finding.field or None, remedy=remedy)
    for name, record in opened.records.items():
        if opened.manifest is not None and opened.manifest.owns(record):
            yield directory / name, record


def _opened(files: dict[str, bytes], findings: list[Finding], where: Path) -> Opened:
    manifest = None
    if MANIFEST not in files:
        findings.append(Finding(MANIFEST, "", "is missing"))
    else:
        try:
            content = parse_json(files[MANIFEST], Path(MANIFEST), "the manifest of a submission", REMEDY)
            manifest = parse_submission(content, where)
        except RecordError as error:
            findings.append(Finding(MANIFEST, error.field or "", error.problem))
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
    return parse_record(parse_json(content, where, "a record", REMEDY, limit=LARGEST_RECORD), where)
