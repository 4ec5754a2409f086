"""Curves, rankings under attack, exposure and ablations on the page and in the downloads."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
from board import Board, board_records
from page_reader import Element, read_page

from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.records.schema import RunRecord


@pytest.fixture(scope="module")
def shop(board: Board) -> Element:
    return read_page(board.task("shop"))


@pytest.fixture(scope="module")
def table(board: Board) -> TaskTable:
    tables = build_table([record for _, record in board.results.records])
    return next(table for table in tables if (table.task, table.track) == ("shop", "standard"))


def standard_records() -> list[RunRecord]:
    """The records of the undefended nrms on the standard track of the shop."""
    return [
        r
        for r in board_records()
        if r.status == "ok"
        and (r.task.id, r.task.track, r.model.name, r.defense.name) == ("shop", "standard", "nrms", "standard")
    ]


def table_called(part: Element, caption: str) -> Element:
    return next(
        found
        for found in part.all("table")
        if found.all("caption") and found.all("caption")[0].text().startswith(caption)
    )


def line_of(found: Element, name: str) -> Element:
    return next(row for row in found.all("tr") if row.all("th") and row.all("th")[0].text().split() == name.split())


def values(line: Element) -> list[str]:
    return [span.text() for cell in line.all("td") for span in cell.all("span", class_="value")]


def test_the_curves_numbers_are_recomputed_from_the_records(shop: Element) -> None:
    line = line_of(table_called(shop, "stuffing: accuracy in per cent by words changed"), "nrms + undefended")
    curves = [next(t for t in r.threats if t.id == "stuffing").curve for r in standard_records()]
    expected = [
        f"{100 * np.mean([curve[n].robust.to_bool().mean() for curve in curves]):.1f}" for n in range(len(curves[0]))
    ]
    assert values(line) == expected


def test_exposure_on_the_page_is_recomputed_from_the_records(shop: Element) -> None:
    line = line_of(table_called(shop, "Ranking under attack"), "nrms + undefended")
    told = values(line)
    for place, k in ((-2, 10), (-1, 50)):
        before, after = (
            np.mean([(getattr(r.promotion[0], name).to_float() <= k).mean() for r in standard_records()])
            for name in ("before", "after")
        )
        assert told[place] == f"{100 * before:.1f} → {100 * after:.1f}"


def test_rows_without_these_facts_are_left_out_and_not_guessed(shop: Element, table: TaskTable) -> None:
    known = sum(1 for row in table.rows if (cells := row.under("stuffing")) and cells.curve)
    assert 0 < known < len(table.rows)
    body = table_called(shop, "stuffing: accuracy").all("tbody")[0]
    assert len(body.all("tr")) == known


def test_a_table_without_any_of_it_says_nothing_of_it(board: Board) -> None:
    text = read_page(board.task("news")).text()
    assert "Ranking under attack" not in text
    assert "ecurity curve" not in text
    assert "What each attack adds" not in text


def test_every_curve_has_words_and_a_table_beside_it(shop: Element, table: TaskTable) -> None:
    words = [text for image in shop.all("img") if "accuracy against" in (text := image.attributes["alt"])]
    assert len(words) == len(table.threats)
    for text in words:
        assert re.search(r"rows, .* under \w+: from \d+\.\d to \d+\.\d % at 0 to", text)


def test_an_ablation_names_every_attack(shop: Element) -> None:
    text = table_called(shop, "stuffing: robust accuracy in per cent under each attack alone").text()
    assert all(name in text for name in ("random", "gradient", "query"))


def test_the_csv_and_the_json_have_what_the_page_has(board: Board, table: TaskTable) -> None:
    lines = list(csv.DictReader(io.StringIO(board.files["leaderboard.csv"].decode())))
    line = next(
        line
        for line in lines
        if (line["task"], line["track"], line["model"], line["defense"]) == ("shop", "standard", "nrms", "standard")
    )
    row = next(row for row in table.rows if (row.model.name, row.defense.name) == ("nrms", "standard"))
    cells = row.under("stuffing")
    assert cells is not None
    assert cells.ranking is not None
    assert cells.promotion is not None
    assert float(line["ndcg@10_after:stuffing"]) == cells.ranking.ndcg10_after.value
    assert float(line["exposure@10_after:stuffing"]) == cells.promotion.exposure10_after.value
    assert float(line["exposure@50_before:stuffing:low"]) == cells.promotion.exposure50_before.low
    for point in cells.curve:
        assert float(line[f"curve_accuracy:stuffing:{point.amount:g}"]) == point.accuracy.value
    content = json.loads(board.files["leaderboard.json"])
    shop = next(t for t in content["tables"] if (t["task"], t["track"]) == ("shop", "standard"))
    told = next(r for r in shop["rows"] if (r["model"]["name"], r["defense"]["name"]) == ("nrms", "standard"))
    found = next(threat for threat in told["threats"] if threat["threat"] == "stuffing")
    assert found["promotion"]["exposure10_after"]["value"] == cells.promotion.exposure10_after.value
    assert [point["accuracy"]["value"] for point in found["curve"]] == [p.accuracy.value for p in cells.curve]
