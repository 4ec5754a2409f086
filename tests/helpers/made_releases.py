"""Releases made of made-up records, for the tests of freezing and of all that follows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from synthetic_records import failed_gate, make_record

from recgauntlet.leaderboard.release.freeze import Wanted, freeze
from recgauntlet.records.io import write_record
from recgauntlet.records.schema import RunRecord

SMALL = {"pairs": 60, "impressions": 40}


def small(count: int = 3, **options: object) -> list[RunRecord]:
    """`count` seeds of a small row."""
    return [make_record(seed=seed, **{**SMALL, **options}) for seed in range(count)]  # type: ignore[arg-type]


def board() -> list[RunRecord]:
    """Two tasks, a defended row, one that is flagged and one with too few seeds."""
    return [
        *small(further=True),
        *small(defense="pgd", ratio=1.5, hyperparameters={"epsilon": 0.1}, further=True),
        *small(2, defense="few"),
        *small(defense="masked", gates=(failed_gate(),)),
        *small(task="news", threats={"tampering": (0.6, 0.5, 0.4), "embedding": (0.6, 0.5, 0.4)}),
    ]


def write_all(directory: Path, records: Iterable[RunRecord]) -> Path:
    """The records as files of `directory`."""
    for number, record in enumerate(records):
        write_record(record, directory / f"{number:03}.json")
    return directory


def make_release(folder: Path, name: str = "2026.1", records: Iterable[RunRecord] = (), **options: object) -> Path:
    """The directory of a frozen release below `folder / "results"`."""
    source = write_all(folder / f"records-of-{name}", records or board())
    return freeze(Wanted(name, (source,), folder / "results", **options))  # type: ignore[arg-type]
