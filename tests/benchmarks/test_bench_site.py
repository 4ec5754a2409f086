"""The seconds that a site of 500 records takes, figures included."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
from bench_figures import Book

from recgauntlet.core.files import CURRENT
from recgauntlet.records.io import read_records, write_record

RECORDS = 500
RELEASE = Path(__file__).resolve().parents[2] / "results" / CURRENT
LOOKS_EVERY = 0.1


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
    seconds: dict[int, float] = {}
    peak, start = 0, time.perf_counter()
    with psutil.Popen(
        [*command, "--results", str(tmp_path / "records")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while process.poll() is None:
            memory = 0
            with suppress(psutil.Error):  # ended since it was listed
                for one in [process, *process.children(recursive=True)]:
                    seconds[one.pid] = sum(one.cpu_times()[:2])
                    memory += one.memory_info().rss
            peak = max(peak, memory)
            time.sleep(LOOKS_EVERY)
        out, err = process.communicate()
    wall = time.perf_counter() - start
    assert process.returncode == 0, err
    assert f"{RECORDS} records" in out
    assert "left out" not in err
    pages = sum(1 for _ in (tmp_path / "site").rglob("*.html"))
    used, cores = sum(seconds.values()), psutil.cpu_count()
    detail = (
        f"once, on {cores} cores at a load of {psutil.getloadavg()[0]:.1f}; peak memory {peak / 1e9:.1f} GB; "
        f"{pages} pages"
    )
    name = f"`recgauntlet site` with {RECORDS} records"
    book("site", f"seconds of {name}", wall, detail, at_most=60)
    book("site", f"processor seconds of {name}, all processes", used, detail)
    book("site", f"processor seconds of {name}, main process", seconds[process.pid], detail)
