"""The seconds that a site of 500 records takes, figures included."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bench_figures import Figure
from record_copies import write_copies

RECORDS = 500
pytestmark = [pytest.mark.measures, pytest.mark.timeout(900)]


def test_a_site_of_500_records(tmp_path: Path, book: Callable[[Figure], None]) -> None:
    write_copies(RECORDS, tmp_path / "records")
    command = [sys.executable, "-m", "recgauntlet", "site", "--out", str(tmp_path / "site")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--results", str(tmp_path / "records")], check=True, capture_output=True, text=True
    )
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert f"{RECORDS} records" in done.stdout
    assert "left out" not in done.stderr
    pages = sum(1 for _ in (tmp_path / "site").rglob("*.html"))
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    detail = (
        f"wall clock, once, on {os.cpu_count()} cores; {processor:.1f} s of processor time, "
        f"peak memory {after.ru_maxrss / 1e6:.1f} GB; {pages} pages"
    )
    book(Figure(f"seconds of recgauntlet site with {RECORDS} records", wall, detail, at_most=60))
