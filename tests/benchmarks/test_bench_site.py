"""The seconds that a site of 500 records takes, figures included."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from bench_figures import Book

from recgauntlet.core.files import CURRENT
from recgauntlet.records.io import read_records, write_record

RECORDS = 500
RELEASE = Path(__file__).resolve().parents[2] / "results" / CURRENT


def write_copies(directory: Path) -> None:
    """Copies of the release's standard tracks; each round through them gets model names of its own, so that every copy
    has its undefended twin."""
    originals = [record for record in read_records(RELEASE) if record.task.track == "standard"]
    for number in range(RECORDS):
        original = originals[number % len(originals)]
        model = original.model.model_copy(update={"name": f"{original.model.name}-{number // len(originals)}"})
        write_record(original.model_copy(update={"model": model}), directory / f"{number:04}.json")


def test_a_site_of_500_records(tmp_path: Path, book: Book) -> None:
    write_copies(tmp_path / "records")
    command = [sys.executable, "-m", "recgauntlet", "site", "--out", str(tmp_path / "site")]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--results", str(tmp_path / "records")], check=True, capture_output=True, text=True
    )
    wall = time.perf_counter() - start
    assert f"{RECORDS} records" in done.stdout
    assert "left out" not in done.stderr
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    pages = sum(1 for _ in (tmp_path / "site").rglob("*.html"))
    detail = (
        f"wall clock, once, on {os.cpu_count()} cores; {used.ru_utime + used.ru_stime:.0f} s of processor time, "
        f"peak memory {used.ru_maxrss / 1e6:.1f} GB; {pages} pages"
    )
    book("site", f"seconds of `recgauntlet site` with {RECORDS} records", wall, detail, at_most=60)
