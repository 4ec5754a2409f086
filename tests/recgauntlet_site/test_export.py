"""The downloads say what the page says."""

from __future__ import annotations

import csv
import io
import json
import lzma
from pathlib import Path

import pytest
from board import Board
from synthetic_records import make_record

from recgauntlet.leaderboard.build import build_table
from recgauntlet.records.io import read_records, write_record
from recgauntlet_site.render import render_site


def test_the_csv_has_every_row_with_its_numbers_unrounded(board: Board) -> None:
    lines = list(csv.DictReader(io.StringIO(board.files["leaderboard.csv"].decode())))
    tables = build_table([record for _, record in board.results.records])
    rows = [(table, row) for table in tables for row in table.rows]
    assert len(lines) == len(rows)
    for line, (table, row) in zip(lines, rows, strict=True):
        assert line["task"] == table.task
        assert line["rank"] == ("" if row.rank is None else str(row.rank))
        assert float(line["clean_accuracy"]) == row.clean.value
        assert float(line["clean_accuracy:low"]) == row.clean.low
        for cells in row.threats:
            told = line[f"robust_accuracy:{cells.threat}:standard"]
            cell = cells.at("standard")
            assert told == "not applicable" if cell is None else float(told) == cell.robust.value


def test_a_spreadsheet_does_not_take_a_name_for_a_formula(board: Board) -> None:
    lines = csv.DictReader(io.StringIO(board.files["leaderboard.csv"].decode()))
    assert "'=HYPERLINK(1)" in {line["model"] for line in lines}


def test_the_json_has_all_that_is_on_the_page(board: Board) -> None:
    content = json.loads(board.files["leaderboard.json"])
    assert content["format"] == "recgauntlet-tables-1"
    shop = next(table for table in content["tables"] if (table["task"], table["track"]) == ("shop", "standard"))
    best = next(row for row in shop["rows"] if row["rank"] == 1)
    assert best["defense"]["hyperparameters"] == {"epsilon": 0.2}
    assert best["threats"][0]["cells"][1]["robust"]["value"] == pytest.approx(0.65)
    assert [flag["kind"] for row in shop["rows"] for flag in row["flags"]].count("failed-gate") == 1
    assert shop["failed"][0]["stage"] == "training"


def test_a_compressed_record_is_copied_as_json(tmp_path: Path) -> None:
    record = make_record()
    write_record(record, tmp_path / "in" / "one.json")
    text = (tmp_path / "in" / "one.json").read_bytes()
    packed = tmp_path / "packed" / "one.json.xz"
    packed.parent.mkdir()
    packed.write_bytes(lzma.compress(text))
    files = dict(render_site([("packed", packed.parent, read_records(packed.parent))], cards=lambda table: None))
    (copy,) = (content for name, content in files.items() if name.startswith("records/"))
    assert copy == text
