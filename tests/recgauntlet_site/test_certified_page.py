"""The page shows certified accuracy in a column of its own, and only where a row has one."""

from __future__ import annotations

import json
from pathlib import Path

from board import render_records
from page_reader import Element, read_page
from synthetic_records import make_record


def test_a_certified_row_brings_a_column_in_which_others_are_not_applicable(tmp_path: Path) -> None:
    smooth = make_record(defense="smooth", certified=True)
    page = read_page(render_records(tmp_path, [make_record(), smooth])["tasks/shop-standard.html"])
    board = page.all("table", class_="board")[0]
    heads = [head.text() for head in board.all("thead")[0].all("th")]
    assert heads[4:8] == [
        "stuffing low, not ranked",
        "stuffing low, certified",
        "stuffing medium, ranked",
        "stuffing medium, certified",
    ]
    found = {}
    for row in board.all("tbody")[0].all("tr"):
        cells = [child for child in row.children if isinstance(child, Element)]
        assert len(cells) == len(heads)
        (cell,) = [cell for cell in cells if cell.attributes.get("data-label") == "stuffing, medium, certified"]
        found[" ".join(cells[1].text().split())] = cell.text()
    proved = smooth.proved("stuffing", "standard")
    assert proved is not None
    assert found["nrms + smooth"].startswith(f"{100 * proved.mean():.1f} ")
    assert found["nrms + undefended"] == "not applicable"


def test_a_page_without_certificates_does_not_speak_of_them(tmp_path: Path) -> None:
    files = render_records(tmp_path, [make_record(), make_record(defense="pgd")])
    assert b"ertified" not in b"".join(files[name] for name in files if not name.startswith(("records/", "about")))


def test_the_json_has_it_where_a_row_has(tmp_path: Path) -> None:
    records = [make_record(), make_record(defense="smooth", certified=True)]
    content = json.loads(render_records(tmp_path, records)["leaderboard.json"])
    cells = {row["defense"]["name"]: row["threats"][0]["cells"][0] for row in content["tables"][0]["rows"]}
    assert "certified" not in cells["standard"]
    assert cells["smooth"]["certified"]["value"] > 0
