"""Simulated ads on the pages, in the CSV and in the DataFrame."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from board import render_records
from page_reader import read_page
from synthetic_ads import record_with_ads

from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.dataframe import load
from recgauntlet.leaderboard.table_csv import to_csv
from recgauntlet.records.io import write_record


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return render_records(tmp_path_factory.mktemp("ads"), [record_with_ads(seed) for seed in range(3)])


@pytest.mark.parametrize("folder", ["tasks/", "rows/"])
def test_the_pages_say_that_ads_are_simulated_and_show_what_is_kept(site: dict[str, bytes], folder: str) -> None:
    (page,) = [read_page(content) for path, content in site.items() if path.startswith(folder)]
    (section,) = [part for part in page.all("section") if part.attributes.get("aria-labelledby") == "ads"]
    text = section.text()
    assert "simulated" in text
    assert "33.3" in text
    assert "folk-rule 83.3" in text
    assert "the same within the interval" in text
    assert "Failed checks of this measurement: a-check" in text


def test_csv_and_dataframe_have_the_exposure_kept(tmp_path: Path) -> None:
    record = record_with_ads(0)
    (line,) = csv.DictReader(io.StringIO(to_csv(build_table([record])).decode()))
    assert float(line["exposure_kept:ad-dodging:low"]) == pytest.approx(5 / 6)
    write_record(record, tmp_path / "one.json")
    frame = load(tmp_path)
    ads = frame[frame.threat == "ad-dodging"].set_index("tier")
    assert ads.exposure_kept.round(6).to_dict() == {"low": 0.833333, "standard": 0.333333}
    assert ads.robust_accuracy.round(6).to_dict() == {"low": 0.666667, "standard": 0.166667}
    assert not ads.ranked.any()
    assert frame[frame.threat != "ad-dodging"].exposure_kept.isna().all()
