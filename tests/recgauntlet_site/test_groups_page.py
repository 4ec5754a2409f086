"""Fairness on the page of a row: a table a grouping, gaps in words, and nothing where records have no groups."""

from __future__ import annotations

from pathlib import Path

from board import render_records
from page_reader import read_page
from synthetic_groups import record_by_group, with_groups, with_user_groups
from synthetic_places import with_places
from synthetic_records import make_record


def row_of(files: dict[str, bytes], defense: str) -> bytes:
    (page,) = [content for name, content in files.items() if name.startswith("rows/") and f"-nrms-{defense}-" in name]
    return page


def test_tables_and_sentences_say_what_the_groups_have(tmp_path: Path) -> None:
    records = [
        record_by_group(shares, seed=seed, defense=defense)
        for seed in range(3)
        for defense, shares in (("pgd", (0.8, 0.6, 0.5)), ("standard", (0.65, 0.6, 0.55)))
    ]
    files = render_records(tmp_path, records)
    page = read_page(row_of(files, "pgd"))
    (table,) = [one for one in page.all("table") if "By user activity" in one.text()]
    lines = [[cell.text().split()[0] for cell in line.all("td")] for line in table.all("tbody")[0].all("tr")]
    assert lines == [["200", "90.0", "80.0"], ["200", "90.0", "60.0"], ["200", "90.0", "50.0"]]
    (section,) = page.all("section", **{"aria-labelledby": "fairness"})
    clean, robust = (" ".join(item.text().split()) for item in section.all("li"))
    assert clean.startswith("Clean accuracy: largest gap 0.0 points")
    assert "equal groups may differ so by chance" in clean
    assert "this may be chance" in clean
    assert robust.startswith("Robust accuracy under stuffing: largest gap 30.0 points (")
    assert "80.0 % with 0 items (new users) against 50.0 % with 10–40 items." in robust
    assert "the gap is 30.0 points, and 10.0 in the undefended twin: 20.0 points wider (" in robust
    assert "this may be chance" not in robust
    assert "undefended twin:" not in row_of(files, "standard").decode()


def test_exposure_has_a_column_and_small_groups_say_so(tmp_path: Path) -> None:
    records = [with_groups(with_places(make_record(seed=seed)), [0] * 191 + [2] * 9, exposed=True) for seed in range(3)]
    page = read_page(row_of(render_records(tmp_path, records), "standard"))
    (table,) = [one for one in page.all("table") if "By popularity" in one.text()]
    lines = [[cell.text() for cell in line.all("td")] for line in table.all("tbody")[0].all("tr")]
    assert [line[0] for line in lines] == ["191", "0", "9"]
    assert [line[1:3] for line in lines[1:]] == [["too few pairs"] * 2] * 2
    assert [line[3].split()[0] for line in lines] == ["5.0", "10.0", "85.0"]


def test_attributes_of_users_have_a_table_that_says_whose_they_are(tmp_path: Path) -> None:
    labels = ["young", "<img src=x onerror=alert(1)>", "old"]
    records = [with_user_groups(record_by_group((0.8, 0.6, 0.5), seed=seed), labels) for seed in range(3)]
    content = row_of(render_records(tmp_path, records), "standard")
    assert b"<img src=x" not in content
    page = read_page(content)
    (table,) = [one for one in page.all("table") if "By age of the user (as the data set records it)" in one.text()]
    assert [cell.text() for cell in table.all("th")[:3]] == ["Group", "Users", "Test pairs"]
    assert [head.text() for head in table.all("tbody")[0].all("th")] == labels
    lines = [[cell.text().split()[0] for cell in line.all("td")] for line in table.all("tbody")[0].all("tr")]
    assert lines == [["20", "200", "90.0", share] for share in ("80.0", "60.0", "50.0")]
    (section,) = page.all("section", **{"aria-labelledby": "fairness"})
    assert "their intervals are over users, not over pairs" in section.text()


def test_a_row_without_groups_does_not_speak_of_them(tmp_path: Path) -> None:
    assert b"Fairness" not in row_of(render_records(tmp_path, [make_record()]), "standard")
