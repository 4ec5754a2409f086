"""What holds for figures of every kind: names, words, data tables, and drawings that fit, for any table."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from picture_tables import HEBREW, HOSTILE, LONG, few_rows, many_rows, odd_tables

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet_site.format import percent
from recgauntlet_site.pictures import (
    Picture,
    accuracy_cost,
    clean_robust,
    heat_map,
    pdf,
    pictures_of,
    security_curves,
    seed_spread,
    style_sheet,
)
from recgauntlet_site.pictures.drawing import Circle, Drawing, Text
from recgauntlet_site.pictures.drawing import Path as Lines
from recgauntlet_site.pictures.lettering import width
from recgauntlet_site.pictures.palette import ON_PAPER

SVG = "{http://www.w3.org/2000/svg}"
STYLE = Path(__file__).resolve().parents[2] / "site" / "recgauntlet_site" / "static" / "style.css"


def every_kind(table: TaskTable) -> list[Picture]:
    """All pictures of a table, those that have nothing to show too."""
    by_threat = [kind(table, column) for column in table.threats for kind in (clean_robust, security_curves)]
    return [*by_threat, accuracy_cost(table), heat_map(table), seed_spread(table)]


@pytest.fixture(scope="module")
def tables() -> dict[str, TaskTable]:
    return {"few": few_rows(), "forty": many_rows(), "hundreds": many_rows(foreign=120), **odd_tables()}


@pytest.fixture(scope="module")
def drawn(tables: dict[str, TaskTable]) -> dict[str, list[Picture]]:
    return {name: every_kind(table) for name, table in tables.items()}


def extents(picture: Picture) -> Iterator[tuple[float, float, float, float]]:
    """Left, top, right and bottom of all that is drawn."""
    for mark in picture.drawing.marks:
        if isinstance(mark, Text):
            wide = width(mark.text, mark.size, mark.bold)
            left = mark.x - {"start": 0.0, "middle": wide / 2, "end": wide}[mark.anchor]
            yield left, mark.y - mark.size, left + wide, mark.y + 0.3 * mark.size
        elif isinstance(mark, Circle):
            yield mark.x - mark.radius, mark.y - mark.radius, mark.x + mark.radius, mark.y + mark.radius
        else:
            for part in mark.parts:
                xs, ys = zip(*part, strict=True)
                yield min(xs), min(ys), max(xs), max(ys)


def test_names_are_unique_and_fit_files_and_ids(drawn: dict[str, list[Picture]]) -> None:
    for pictures in drawn.values():
        names = [picture.name for picture in pictures]
        assert len(names) == len(set(names))
        assert all(re.fullmatch(r"[a-z][a-z0-9-]*", name) for name in names)


def test_threats_whose_names_read_alike_have_pictures_of_their_own() -> None:
    table = few_rows()
    columns = tuple(replace(column, id=name) for column, name in zip(table.threats, ("a b", "a_b"), strict=True))
    renamed = replace(table, threats=columns)
    first, second = (clean_robust(renamed, column, prefix="x").name for column in columns)
    assert (first, second) == ("x-clean-robust-a-b-1", "x-clean-robust-a-b-2")


def test_a_table_gives_the_pictures_that_show_something(tables: dict[str, TaskTable]) -> None:
    kinds = [picture.kind for picture in pictures_of(tables["few"], prefix="p")]
    assert kinds == ["clean-robust"] * 2 + ["security-curves"] * 2 + ["accuracy-cost", "heat-map", "seed-spread"]
    assert pictures_of(tables["no row"]) == ()
    assert "accuracy-cost" not in {picture.kind for picture in pictures_of(tables["one row"])}


def test_nothing_to_show_is_said_in_words_and_in_the_drawing(tables: dict[str, TaskTable]) -> None:
    for picture in every_kind(tables["no row"]):
        assert picture.rows == ()
        assert picture.description.startswith("Nothing to show: ")
        told = " ".join(mark.text for mark in picture.drawing.marks if isinstance(mark, Text))
        assert told == picture.description


def test_data_tables_are_rectangular_and_name_every_row(drawn: dict[str, list[Picture]]) -> None:
    for pictures in drawn.values():
        for picture in pictures:
            assert all(len(row) == len(picture.header) for row in picture.rows)
            assert all(isinstance(cell, str) for row in picture.rows for cell in row)
    for picture in drawn["forty"][-2:]:
        assert len(picture.rows) == 39


def test_data_tables_have_the_numbers_of_the_table(tables: dict[str, TaskTable]) -> None:
    table = tables["forty"]
    (column, *_) = table.threats
    told = {row[1]: row for row in clean_robust(table, column).rows}
    for row in table.rows:
        cells = row.under(column.id)
        cell = cells.at(RANKING_TIER) if cells else None
        assert cell is not None
        _, _, clean, _, robust, ends, cost, _ = told[f"{row.model.name} + {row.defense.name}"]
        assert (clean, robust) == (percent(row.clean.value), percent(cell.robust.value))
        assert ends == f"{percent(cell.robust.low)}–{percent(cell.robust.high)}"
        assert cost == ("1×" if row.defense.name == "standard" else f"{row.cost.flops_ratio:.2f}×")


def test_descriptions_are_a_few_sentences(drawn: dict[str, list[Picture]]) -> None:
    for picture in (p for name in ("few", "forty", "hundreds") for p in drawn[name]):
        assert 60 < len(picture.description) < 900, picture.description


def test_no_number_is_nan_and_nothing_is_drawn_outside_the_sheet(drawn: dict[str, list[Picture]]) -> None:
    for name, pictures in drawn.items():
        for picture in pictures:
            assert "nan" not in re.sub("[<>]", " ", re.sub(">[^<]*<", "><", picture.svg)).split()
            assert picture.drawing.height < 3000
            for left, top, right, bottom in extents(picture):
                sheet = picture.drawing
                inside = left >= -1 and right <= sheet.width + 1 and top >= -2 and bottom <= sheet.height
                assert inside, (name, picture.name, left, top, right, bottom)


def test_letters_are_legible_on_a_phone(drawn: dict[str, list[Picture]]) -> None:
    """A figure that is 360 pixels wide has no letters below eight and a half."""
    for name in ("few", "forty", "hundreds"):
        for picture in drawn[name]:
            sizes = [mark.size for mark in picture.drawing.marks if isinstance(mark, Text)]
            assert min(sizes) * 360 / picture.drawing.width >= 8.5, picture.name


def test_inline_drawings_have_no_ids_styles_and_colours_of_their_own(drawn: dict[str, list[Picture]]) -> None:
    style = STYLE.read_text(encoding="utf-8") + style_sheet()
    for picture in (picture for pictures in drawn.values() for picture in pictures):
        root = ElementTree.fromstring(picture.svg)
        assert root.attrib["class"] == "plot"
        assert root.attrib["aria-hidden"] == "true"
        for element in root.iter():
            assert not {"id", "style", "href"} & set(element.attrib)
            assert element.get("fill", "none") == "none"
            assert "stroke" not in element.attrib
            for name in element.get("class", "").split():
                assert f".{name}{{" in style or name == "bare", name


def test_files_stand_alone(drawn: dict[str, list[Picture]]) -> None:
    for picture in (picture for pictures in drawn.values() for picture in pictures):
        root = ElementTree.fromstring(picture.as_svg())
        assert root.findtext(f"{SVG}title") == picture.title
        assert root.findtext(f"{SVG}desc") == picture.description
        for element in root.iter():
            assert not {"id", "style", "class", "href"} & set(element.attrib)
            colours = {element.attrib.get(name, "none") for name in ("fill", "stroke")} - {"none"}
            assert colours <= set(ON_PAPER.values())


def test_names_of_others_are_text_and_cannot_reorder_what_stands_around_them(tables: dict[str, TaskTable]) -> None:
    for picture in every_kind(tables["names"]):
        for drawing in (picture.svg, picture.as_svg().decode()):
            assert "<script" not in drawing
            assert "\u202e" not in drawing
            assert LONG not in re.sub("<desc>.*</desc>", "", drawing)
            ElementTree.fromstring(drawing)
            for text in re.findall(r"<text[^>]*>([^<]*)</text>", drawing):
                assert text.count("\u2068") == text.count("\u2069")
                if HEBREW in text:
                    assert "\u2068" in text
    drawn = heat_map(tables["names"]).svg
    assert "_$&lt;script&gt;&amp;" in drawn
    assert any(HOSTILE in row[1] for row in heat_map(tables["names"]).rows)


def test_a_pdf_has_embedded_letters_and_nothing_that_changes(drawn: dict[str, list[Picture]]) -> None:
    for picture in (drawn["few"][0], drawn["names"][-2]):
        content = picture.as_pdf()
        assert content.startswith(b"%PDF-1.4")
        assert b"/FontFile2" in content
        assert b"/Type3" not in content
        assert set(re.findall(rb"D:([0-9]{8})", content)) == {b"20000101"}
        assert content == picture.as_pdf()


def streams(content: bytes) -> Iterator[bytes]:
    """What is compressed in a PDF."""
    for found in re.finditer(rb"stream\r?\n(.*?)endstream", content, re.DOTALL):
        yield zlib.decompress(found[1])


def test_letters_with_a_halo_are_in_a_pdf_as_text_once() -> None:
    texts = Text(10, 20, "plain"), Text(10, 40, "nrms", halo=True), Text(10, 60, "after")
    page = next(text for text in streams(pdf.pdf(Drawing(80, texts), "t")) if b"Tj" in text)
    beneath = re.findall(rb"/Artifact BMC(.*?)EMC", page, re.DOTALL)
    assert [b"1 Tr" in part for part in beneath] == [True]  # their edges, in a state that ends with them
    assert b"q" in beneath[0].split()
    assert page.count(b"Tj") == len(texts) + 1


def test_a_box_stands_for_a_character_that_the_font_lacks_and_nothing_for_a_mark_of_direction() -> None:
    font = pdf.font_of(bold=False)
    assert pdf._known("Ähre λ ≤ \u05d0 \u202e漢", font) == "Ähre λ ≤ \u05d0 □"


PROGRAM = """
import sys, hashlib
sys.path[:0] = {paths!r}
from picture_tables import few_rows
from recgauntlet_site.pictures import pictures_of
digest = hashlib.sha256()
for picture in pictures_of(few_rows()):
    digest.update(picture.svg.encode() + picture.as_svg())
digest.update(picture.as_pdf())
print(digest.hexdigest())
"""


def test_files_are_the_same_bytes_in_every_process() -> None:
    here = Path(__file__).parent
    program = PROGRAM.format(paths=[str(here), str(here.parent / "recgauntlet")])
    told = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for seed in ("1", "2")
    }
    own = hashlib.sha256()
    pictures = pictures_of(few_rows())
    for picture in pictures:
        own.update(picture.svg.encode() + picture.as_svg())
    own.update(pictures[-1].as_pdf())
    assert told == {own.hexdigest() + "\n"}


def test_the_drawings_of_a_page_do_not_load_reportlab() -> None:
    program = (
        "import sys, recgauntlet_site.pictures.pdf, recgauntlet_site.render\n"
        "sys.exit([name for name in sys.modules if name.startswith('reportlab')] != [])"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=120, check=False).returncode == 0


def test_lines_are_drawn_in_every_kind(drawn: dict[str, list[Picture]]) -> None:
    for picture in drawn["few"]:
        assert any(isinstance(mark, Lines) for mark in picture.drawing.marks)
