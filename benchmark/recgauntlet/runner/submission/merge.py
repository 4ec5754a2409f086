"""Merging a submission into a release: files only, in a separate directory, written atomically."""

from __future__ import annotations

from pathlib import Path

from recgauntlet.core.errors import RecordError
from recgauntlet.core.files import write_directory
from recgauntlet.records.manifest import SUBMISSIONS
from recgauntlet.records.submission.reader import open_archive
from recgauntlet.runner.submission.checks import static_findings


def merge(archive: Path, release: Path) -> Path:
    """Put the files of `archive` into `release`/submissions/<name>/ and return that directory.

    Raises
    ------
    RecordError
        Where the archive does not check out, the release is not there, or has such a submission already.
    OutputError
        Where the directory cannot be written.
    """
    opened = open_archive(archive)
    findings = static_findings(opened)
    if findings or opened.manifest is None:
        raise RecordError(
            f"does not check out: {findings[0]}" + (f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""),
            where=archive,
            remedy="see all of it with recgauntlet verify",
        )
    if not release.is_dir():
        raise RecordError("is no directory", where=release, remedy="give the directory of a release (results/...)")
    target = release / SUBMISSIONS / opened.manifest.plugin.name
    if target.exists():
        raise RecordError(
            "is there already: what was merged never changes",
            where=target,
            remedy="a new version of a plugin is submitted under another name, or to the next release",
        )
    write_directory(target, opened.files)
    return target
