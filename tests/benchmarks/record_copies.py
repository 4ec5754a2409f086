"""Many records of the size of real ones: copies of the current release under other names of models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from recgauntlet.core.files import CURRENT
from recgauntlet.records.io import read_records, write_record
from recgauntlet.records.schema import RunRecord

RELEASE = Path(__file__).resolve().parents[2] / "results" / CURRENT


def record_copies(count: int) -> Iterator[RunRecord]:
    """`count` records of the standard tracks; each round through the release gets model names of its own, so that
    every copy has its undefended twin."""
    originals = [record for record in read_records(RELEASE) if record.task.track == "standard"]
    for number in range(count):
        original = originals[number % len(originals)]
        model = original.model.model_copy(update={"name": f"{original.model.name}-{number // len(originals)}"})
        yield original.model_copy(update={"model": model})


def write_copies(count: int, directory: Path) -> None:
    """Write the copies below `directory`, one JSON file each."""
    for number, record in enumerate(record_copies(count)):
        write_record(record, directory / f"{number:04}.json")
