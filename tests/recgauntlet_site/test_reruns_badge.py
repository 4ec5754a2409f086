"""The badge of a cell that was drawn by lot and run again with equal numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_releases import make_release, small

from recgauntlet.records.io import read_records
from recgauntlet.records.reruns import Rerun, add_rerun, drawn, numbers_of, records_within
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.render import render_site

LOT = 3
BADGE = "re-run by lot"


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return make_release(tmp_path, records=[*small(), *small(defense="pgd", ratio=1.5)])


def record_of(release: Path) -> RunRecord:
    records = records_within(release, read_records(release))
    return records[drawn(records, LOT)]


def outcome(record: RunRecord, numbers: str) -> Rerun:
    made = {"finished": "2026-11-30T03:00:00Z", "recgauntlet": "0.1.0", "commit": "abc", "device": "CPU"}
    return Rerun(record=record.digest, lot=LOT, numbers=numbers, **made)


def pages(release: Path) -> dict[str, str]:
    found = render_site([(release.name, release, read_records(release))])
    return {name: content.decode() for name, content in found if name.endswith(".html")}


def test_row_and_release_have_the_badge_and_no_other_row(release: Path) -> None:
    record = record_of(release)
    assert not any(BADGE in page for page in pages(release).values())
    add_rerun(release, outcome(record, numbers_of(record)))
    made = pages(release)
    start = made["index.html"]
    assert "1 cell re-run by lot, equal numbers" in start
    lines = [line for line in start.splitlines() if line.startswith("<tr id=") and BADGE in line]
    assert len(lines) == 1
    assert ("undefended" if record.defense.name == "standard" else record.defense.name) in lines[0]
    assert f"Seed {record.seed} was drawn by lot" in lines[0]
    assert sum(BADGE in page for name, page in made.items() if name.startswith("rows/")) == 1
    assert all(BADGE in page for name, page in made.items() if name.startswith("tasks/"))


def test_other_numbers_give_no_badge(release: Path) -> None:
    add_rerun(release, outcome(record_of(release), "0" * 64))
    assert not any(BADGE in page for page in pages(release).values())


def test_a_file_that_names_another_record_is_listed_as_broken_and_gives_no_badge(release: Path) -> None:
    record, records = record_of(release), records_within(release, read_records(release))
    other = next(lot for lot in range(100) if records[drawn(records, lot)].digest != record.digest)
    add_rerun(release, outcome(record, numbers_of(record)).model_copy(update={"lot": other}))
    start = pages(release)["index.html"]
    assert BADGE not in start
    assert "2026.1.reruns.json" in start
    assert f"lot {other} falls on another record" in start
