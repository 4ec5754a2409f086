"""Running one cell again that was drawn by lot, and keeping the outcome beside the release."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.console import Console

from recgauntlet.cli.progress import SweepProgress
from recgauntlet.records.manifest import SUBMISSIONS
from recgauntlet.records.reruns import Rerun as Entry
from recgauntlet.records.reruns import add_rerun, numbers_of
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.submission.rerun import Rerun, rerun
from recgauntlet.runner.trained import Sources


def run_again(console: Console, path: str, record: RunRecord, lot: int, sources: Sources, device: str) -> Rerun:
    """The cell of the `record` at `path`, on which `lot` fell, run again behind its fence."""
    console.print(f"lot {lot} falls on {path}", soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="recgauntlet-") as out, SweepProgress(console, 2) as progress:
        return rerun(path, record, Path(out), sources, progress, device=device)


def keep(console: Console, release: Path, record: RunRecord, found: Rerun, lot: int, submission: str = "") -> None:
    """Write the outcome beside the directory `release`, where a cell was run."""
    if found.again is None:
        return
    environment = found.again.environment
    entry = Entry(
        record=record.digest,
        within=f"{SUBMISSIONS}/{submission}" if submission else "",
        lot=lot,
        numbers=numbers_of(found.again),
        findings=tuple(map(str, found.findings)),
        finished=found.again.finished,
        recgauntlet=environment.recgauntlet,
        commit=environment.commit,
        device=environment.device,
    )
    path = add_rerun(release, entry)
    equal = entry.numbers == numbers_of(record)
    console.print(f"{path}: {'equal' if equal else 'other'} numbers", soft_wrap=True)
