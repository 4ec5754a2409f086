"""The page shows how natural edits of texts are, and why not where that was not measured."""

from __future__ import annotations

import json
from pathlib import Path

from page_reader import Element, read_page
from synthetic_edits import with_edits
from synthetic_records import make_record

from recgauntlet.records.io import read_records, write_record
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.render import render_site

COLUMN = "stuffing, stay broken by natural edits, medium, not ranked"


def render(directory: Path, records: list[RunRecord]) -> dict[str, bytes]:
    """The site of `records` without figures, which would take most of the time."""
    for number, record in enumerate(records):
        write_record(record, directory / f"{number}.json")
    found = [("mine", directory, read_records(directory))]
    return dict(render_site(found, cards=lambda table: None, draw=lambda function, drawers: ()))


def cells_of(page: Element) -> dict[str, str]:
    """The cell of the column by the row's name."""
    board = page.all("table", class_="board")[0]
    found = {}
    for row in board.all("tbody")[0].all("tr"):
        cells = [child for child in row.children if isinstance(child, Element)]
        own = [cell for cell in cells if cell.attributes.get("data-label") == COLUMN]
        found[" ".join(cells[1].text().split())] = own[0].text() if own else ""
    return found


def test_a_measured_row_brings_a_column_and_a_table_and_others_say_why_not(tmp_path: Path) -> None:
    measured = with_edits(make_record(further=True))
    unasked = with_edits(make_record(defense="pgd", further=True), reason="no language model was asked for")
    files = render(tmp_path, [measured, unasked, make_record(defense="fgm", further=True)])
    page = read_page(files["tasks/shop-standard.html"])
    (share,) = [
        cells["naturalness"]["of_any"]["share"]["value"]
        for row in json.loads(files["leaderboard.json"])["tables"][0]["rows"]
        for cells in row["threats"]
        if row["defense"]["name"] == "standard" and cells["threat"] == "stuffing"
    ]
    found = cells_of(page)
    assert found["nrms + undefended"].startswith(f"{100 * share:.1f} ")
    assert found["nrms + pgd"] == found["nrms + fgm"] == "not computed"
    (table,) = [
        t for t in page.all("table") if t.all("caption") and "edits of each attack" in t.all("caption")[0].text()
    ]
    lines = [line.text() for line in table.all("tr")]
    assert sum("gradient" in line for line in lines) == 2
    notes = [note.text() for note in page.all("ul", class_="note") for note in note.all("li")]
    assert any("nrms + undefended" in note and "Of all " in note for note in notes)
    assert any("nrms + pgd" in note and "not computed: no language model was asked for" in note for note in notes)
    own = read_page(
        next(content for name, content in files.items() if name.startswith("rows/") and b"+ pgd" in content)
    )
    assert any("not computed" in cell.text() for cell in own.all("td", class_="none"))


def test_a_page_of_older_records_does_not_speak_of_it(tmp_path: Path) -> None:
    files = render(tmp_path, [make_record(further=True), make_record(defense="pgd", further=True)])
    pages = b"".join(files[name] for name in files if name.startswith(("tasks/", "rows/", "leaderboard.json")))
    assert b"aturalness" not in pages
    assert b"natural edits" not in pages
