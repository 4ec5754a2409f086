"""What the tables and the whole site of 2,000 records take: for the first time, again, and after a change."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_figures import Figure
from bench_release import many_records

from recgauntlet.leaderboard.crew import Crew, cores
from recgauntlet.leaderboard.kept import Kept
from recgauntlet.leaderboard.release.freezable import Wanted
from recgauntlet.leaderboard.release.freeze import freeze
from recgauntlet.leaderboard.workshop import Workshop
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.io import read_record

RECORDS = 2000
pytestmark = [pytest.mark.measures, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records as `recgauntlet run` would leave them."""
    folder = tmp_path_factory.mktemp("records")
    for record in many_records(RECORDS):
        path = folder / record.task.id / record.task.track
        path.mkdir(parents=True, exist_ok=True)
        (path / f"{record.model.name}-{record.defense.name}-{record.seed}.json").write_bytes(to_bytes(record))
    return folder


def processor_seconds() -> float:
    """Those of this process and of the children that it waited for."""
    told = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in told)


class Timed:
    """Reads records and makes tables, and notes the seconds by the clock and of the processors."""

    def __init__(self, records: Path, kept: Path) -> None:
        self.records, self.kept = records, kept
        self.walls: list[float] = []
        self.processors: list[float] = []

    def __call__(self) -> None:
        wall, processors = time.perf_counter(), processor_seconds()
        with Crew() as crew, Kept(self.kept, [self.records]) as kept:
            workshop = Workshop(crew, kept)
            results = workshop.read(self.records)
            tables = workshop.tables([record for _, record in results.records])
        self.walls.append(time.perf_counter() - wall)
        self.processors.append(processor_seconds() - processors)
        assert len(results.records) == RECORDS
        assert not results.broken
        assert sum(len(row.sources) for table in tables for row in table.rows) == RECORDS

    def figure(self, what: str, at_most: float) -> Figure:
        wall, processors = statistics.median(self.walls), statistics.median(self.processors)
        each = processors / RECORDS * 1e3
        told = f"by the clock, on {cores()} cores; {processors:.1f} s of processors, {each:.1f} ms a record"
        return Figure(f"seconds to read {RECORDS:,} records and make their tables, {what}", wall, told, at_most=at_most)


def test_for_the_first_time(records: Path, tmp_path: Path, benchmark: Any, book: Callable[[Figure], None]) -> None:
    timed = Timed(records, tmp_path / "kept")
    benchmark.pedantic(timed, setup=lambda: shutil.rmtree(timed.kept, ignore_errors=True), rounds=3, iterations=1)
    book(timed.figure("for the first time", at_most=12))


def test_again(records: Path, tmp_path: Path, benchmark: Any, book: Callable[[Figure], None]) -> None:
    timed = Timed(records, tmp_path / "kept")
    Timed(records, tmp_path / "kept")()
    benchmark.pedantic(timed, rounds=7, iterations=1)
    book(timed.figure("again", at_most=2))


def test_after_one_record_changed(
    records: Path, tmp_path: Path, benchmark: Any, book: Callable[[Figure], None]
) -> None:
    timed = Timed(records, tmp_path / "kept")
    Timed(records, tmp_path / "kept")()
    path = min(records.rglob("*.json"))
    record = read_record(path)
    minutes = itertools.count()

    def change() -> None:
        changed = record.model_copy(update={"finished": f"2030-01-01T00:{next(minutes):02}:00Z"})
        path.write_bytes(to_bytes(changed.sealed()))

    benchmark.pedantic(timed, setup=change, rounds=7, iterations=1)
    path.write_bytes(to_bytes(record))
    book(timed.figure("after one record changed", at_most=2))


def test_the_whole_site(records: Path, tmp_path: Path, book: Callable[[Figure], None]) -> None:
    for what, at_most in (("for the first time", 30), ("again", 15)):
        book(site(records, tmp_path, what, at_most))


def test_the_whole_site_of_a_release(records: Path, tmp_path: Path, book: Callable[[Figure], None]) -> None:
    frozen = freeze(Wanted("2099.1", (records,), tmp_path / "results"))
    book(site(frozen, tmp_path, "of a frozen release, for the first time", 30))


def site(results: Path, place: Path, what: str, at_most: float) -> Figure:
    command = [sys.executable, "-m", "recgauntlet", "site", "--results", str(results), "--out", str(place / "site")]
    environment = os.environ | {"RECGAUNTLET_CACHE": str(place / "cache")}
    wall, processors = time.perf_counter(), processor_seconds()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    wall, processors = time.perf_counter() - wall, processor_seconds() - processors
    pages = sum(1 for _ in (place / "site").rglob("*.html"))
    told = f"by the clock, on {cores()} cores, once; {processors:.1f} s of processors; {pages} pages"
    return Figure(f"seconds of recgauntlet site, {RECORDS:,} records, {what}", wall, told, at_most=at_most)
