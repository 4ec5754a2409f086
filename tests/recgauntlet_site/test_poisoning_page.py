"""Attacks on training data on the pages, in the CSV, in the DataFrame, in `show` and after a run."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path
from typing import Any

import pytest
from board import render_records
from page_reader import read_page
from rich.console import Console
from synthetic_poisoning import poisoned_record, poisoning

from recgauntlet.cli.results import print_results
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.dataframe import load
from recgauntlet.leaderboard.table_csv import to_csv
from recgauntlet.records.io import write_record
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.summary import print_summary

EMPTY = {"clean": None, "trainings": (), "users": 0, "eligible": None, "pair_users": None}


def records() -> list[RunRecord]:
    text = poisoning(200, reason="the model reads text", **EMPTY)
    found = [poisoned_record(seed, model="bpr-mf") for seed in range(3)]
    return found + [poisoned_record(seed, model="nrms", outcome=text) for seed in range(3)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return render_records(tmp_path_factory.mktemp("poisoning"), records())


def test_the_task_page_shows_two_ranks_and_what_was_not_run(site: dict[str, bytes]) -> None:
    (page,) = [read_page(content) for path, content in site.items() if path.startswith("tasks/")]
    (section,) = [part for part in page.all("section") if part.attributes.get("aria-labelledby") == "poisoning"]
    text = section.text()
    assert "not run: the model reads text" in text
    assert "coattails: tail" in text
    assert "Worst attack: win rate, ER@50" in text
    assert re.search(r"coattails: tail [\d.]+ \([^)]+\), [\d.]+ \([^)]+\); head [\d.]+ \([^)]+\), [\d.]+ \(", text)
    heads = [head.text() for head in page.all("th")]
    assert any(head.startswith("Rank training data") for head in heads)
    assert "P(best)" in [head.text() for head in section.all("th")]
    assert "range 1 best in 100 % of the draws" in page.text()
    assert any(head.startswith("brushing training data, medium, ranked apart") for head in heads)


def test_the_row_page_shows_every_training(site: dict[str, bytes]) -> None:
    pages = [read_page(content) for path, content in site.items() if path.startswith("rows/")]
    texts = [
        part.text()
        for page in pages
        for part in page.all("section")
        if part.attributes.get("aria-labelledby") == "poisoning"
    ]
    (text,) = [text for text in texts if "ER@10" in text]
    for words in ("random does not count", "25.0, 50.0, 9", "public"):
        assert words in text
    assert sum("not run" in text for text in texts) == 1


def test_csv_and_dataframe_have_robust_accuracy_and_exposure(tmp_path: Path) -> None:
    lines = {line["model"]: line for line in csv.DictReader(io.StringIO(to_csv(build_table(records())).decode()))}
    line = lines["bpr-mf"]
    assert line["poisoning_rank"] == "1"
    assert (line["poisoning_rank:low"], line["poisoning_rank:high"], line["poisoning_p_best"]) == ("1", "1", "1.0")
    assert lines["nrms"]["poisoning_rank:low"] == ""
    standard: Any = poisoning(200)
    robust = standard.robust_pairs("standard").accuracy()
    assert float(line["poisoned_accuracy:brushing:standard"]) == pytest.approx(robust)
    assert float(line["poisoned_exposure@50:brushing:coattails:standard:tail"]) == pytest.approx(2 / 6)
    assert lines["nrms"]["poisoned_accuracy:brushing:standard"] == "not run"
    for number, record in enumerate(records()):
        write_record(record, tmp_path / f"{number}.json")
    frame = load(tmp_path)
    found = frame[(frame.threat == "brushing") & (frame.model == "bpr-mf") & (frame.seed == 0)].set_index("tier")
    assert found.robust_accuracy["standard"] == pytest.approx(robust)
    assert set(found.surface) == {"training-data"}
    text = frame[(frame.threat == "brushing") & (frame.model == "nrms")]
    assert text.robust_accuracy.isna().all()
    assert not text.applicable.any()


def test_show_and_the_table_after_a_run_name_it() -> None:
    console = Console(file=io.StringIO(), width=200)
    print_summary(console, records()[0])
    print_results(console, records())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    robust: Any = poisoning(200)
    share = robust.robust_pairs("standard").accuracy()
    assert f"medium {share:.1%}" in text
    (line,) = [line for line in text.splitlines() if line.startswith("brushing")]
    assert line.split()[1:] == [f"{100 * share:.1f}", "not", "run"]
