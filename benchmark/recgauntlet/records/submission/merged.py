"""Reading what was merged: the records of a submission's own plugin."""

from __future__ import annotations

from pathlib import Path

from recgauntlet.core.errors import RecordError
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.submission.reader import open_merged


def merged_records(
    directory: Path,
) -> tuple[tuple[tuple[Path, RunRecord], ...], tuple[tuple[Path, RecordError], ...]]:
    """The records of the submitted plugin in a merged submission, and what is broken in it. Its twins and the models
    beside it stay evidence: the release has rows of its own for them."""
    opened = open_merged(directory)
    broken = tuple(
        (
            directory / finding.path,
            RecordError(
                finding.problem,
                where=directory / finding.path,
                field=finding.field or None,
                remedy="restore the submission from where it was published",
            ),
        )
        for finding in opened.findings
    )
    if opened.manifest is None:
        return (), broken
    own = {path: record for path, record in opened.records.items() if opened.manifest.owns(record)}
    return tuple((directory / path, record) for path, record in own.items()), broken
