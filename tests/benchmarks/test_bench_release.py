"""What a large release takes: megabytes on disk, and seconds until all its records are in memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_figures import Figure
from bench_release import MOULDED, many_records

from recgauntlet.leaderboard.release.freezable import Wanted
from recgauntlet.leaderboard.release.freeze import freeze
from recgauntlet.records.io import write_record
from recgauntlet.records.release import open_release

RECORDS = 500
pytestmark = [pytest.mark.measures, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def frozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    for number, record in enumerate(many_records(RECORDS)):
        write_record(record, folder / "records" / f"{number:03}.json")
    return freeze(Wanted("large", (folder / "records",), folder / "results"))


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def test_a_release_of_500_records_stays_small(frozen: Path, book: Callable[[Figure], None]) -> None:
    plain = size_of(frozen.parents[1] / "records")
    assert size_of(frozen) < 20e6
    preview = Path(__file__).resolve().parents[2] / "results" / "preview"
    book(
        Figure(
            f"MB of a release of {RECORDS} records",
            size_of(frozen) / 1e6,
            f"{plain / 1e6:.0f} MB as JSON, {plain / RECORDS / 1e3:.0f} kB a record; "
            f"the {MOULDED} of the preview have {size_of(preview) / MOULDED / 1e3:.0f} kB",
            at_most=20,
        )
    )


def test_a_release_of_500_records_is_opened_quickly(
    frozen: Path, benchmark: Any, book: Callable[[Figure], None]
) -> None:
    walls: list[float] = []
    cpus: list[float] = []

    def once() -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        release = open_release(frozen)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
        assert len(release.results.records) == RECORDS
        assert not release.results.broken

    benchmark.pedantic(once, rounds=7, iterations=1)
    book(
        Figure(
            f"seconds to open a release of {RECORDS} records",
            statistics.median(cpus),
            f"processor time of one core, the median of {len(cpus)}; {statistics.median(walls):.2f} s by the clock, "
            f"{min(walls):.2f} s at best",
            at_most=2,
        )
    )
