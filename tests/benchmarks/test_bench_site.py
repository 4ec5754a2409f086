"""The seconds that a site of 500 records takes, figures included."""

from __future__ import annotations

from pathlib import Path

import psutil
from bench_command import watched
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
    arguments = ["site", "--out", str(tmp_path / "site"), "--results", str(tmp_path / "records")]
    took = watched(arguments, lambda process: process.memory_info().rss)
    assert f"{RECORDS} records" in took.out
    assert "left out" not in took.err
    pages = sum(1 for _ in (tmp_path / "site").rglob("*.html"))
    detail = (
        f"once, on {psutil.cpu_count()} cores at a load of {psutil.getloadavg()[0]:.1f}; "
        f"peak memory {took.peak / 1e9:.1f} GB; {pages} pages"
    )
    name = f"`recgauntlet site` with {RECORDS} records"
    book("site", f"seconds of {name}", took.wall, detail, at_most=60)
    book("site", f"processor seconds of {name}, all processes", took.processor, detail)
    book("site", f"processor seconds of {name}, main process", took.of_main, detail)
