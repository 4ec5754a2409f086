"""How long 500 records take to become a full site, pages, figures and files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from bench_figures import Figure

from recgauntlet.core.files import CURRENT
from recgauntlet.records.io import read_records, write_record

RECORDS = 500
RESULTS = Path(__file__).resolve().parents[2] / "results" / CURRENT
pytestmark = [pytest.mark.measures, pytest.mark.timeout(1200)]


def test_a_site_of_500_records(tmp_path: Path, book: Callable[[Figure], None]) -> None:
    """The records of the current release, then copies of them under other names of the defense."""
    records = list(read_records(RESULTS))
    copies = ((number, record) for number in range(RECORDS) for record in records)
    for place, (number, record) in enumerate(islice(copies, RECORDS)):
        defense = record.defense.model_copy(update={"name": f"{record.defense.name}-{number}"})
        copied = record.model_copy(update={"defense": defense}) if number else record
        write_record(copied.sealed(), tmp_path / "records" / f"{place:03}.json")
    command = [sys.executable, "-m", "recgauntlet", "site"]
    began = time.perf_counter()
    subprocess.run([*command, "--results", tmp_path / "records", "--out", tmp_path / "site"], check=True)
    seconds = time.perf_counter() - began
    pages = sum(1 for _ in (tmp_path / "site").rglob("*.html"))
    detail = f"wall time on {os.cpu_count()} cores; {pages} pages"
    book(Figure(f"seconds of recgauntlet site, {RECORDS} records", seconds, detail, at_most=60))
