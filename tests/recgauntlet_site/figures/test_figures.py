"""What holds for figures of every kind: names, texts, data tables, and files, for any table."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from figure_tables import HEBREW, HOSTILE, LONG, few_rows, many_rows, odd_tables

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet_site.figures import Figure, clean_robust, figures_of, heat_map, style_sheet
from recgauntlet_site.figures.style import IN_DARK, SERIES
from recgauntlet_site.format import percent, row_name

SVG = "{http://www.w3.org/2000/svg}"
COLOUR = re.compile(r"#[0-9a-f]{6}")


@pytest.fixture(scope="module")
def tables() -> dict[str, TaskTable]:
    return {"few": few_rows(), "forty": many_rows(), "hundreds": many_rows(foreign=120), **odd_tables()}


@pytest.fixture(scope="module")
def drawn(tables: dict[str, TaskTable]) -> dict[str, tuple[Figure, ...]]:
    return {name: figures_of(table) for name, table in tables.items()}


def texts(figure: Figure) -> list[str]:
    return [unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", figure.svg)]


def test_names_are_unique_and_fit_files_and_ids(drawn: dict[str, tuple[Figure, ...]]) -> None:
    for figures in drawn.values():
        names = [figure.name for figure in figures]
        assert len(names) == len(set(names))
        assert all(re.fullmatch(r"[a-z][a-z0-9-]*", name) for name in names)


def test_threats_whose_names_read_alike_have_figures_of_their_own() -> None:
    table = few_rows()
    columns = tuple(replace(column, id=name) for column, name in zip(table.threats, ("a b", "a_b"), strict=True))
    rows = tuple(
        replace(row, threats=tuple(replace(c, threat=n.id) for c, n in zip(row.threats, columns, strict=True)))
        for row in table.rows
    )
    renamed = replace(table, threats=columns, rows=rows)
    figures = [clean_robust(renamed, column, prefix="x") for column in columns]
    assert [figure and figure.name for figure in figures] == ["x-clean-robust-a-b", "x-clean-robust-a-b-2"]


def test_a_table_gives_the_figures_that_show_something(tables: dict[str, TaskTable]) -> None:
    kinds = [figure.kind for figure in figures_of(tables["few"], prefix="p")]
    assert kinds == ["clean-robust"] * 2 + ["security-curves"] * 2 + ["accuracy-cost", "heat-map", "seed-spread"]
    assert figures_of(tables["no row"]) == ()
    assert "accuracy-cost" not in {figure.kind for figure in figures_of(tables["one row"])}


def test_data_tables_are_rectangular_and_name_every_row(
    tables: dict[str, TaskTable], drawn: dict[str, tuple[Figure, ...]]
) -> None:
    for figures in drawn.values():
        for figure in figures:
            assert figure.rows
            assert all(len(row) == len(figure.header) for row in figure.rows)
            assert all(isinstance(cell, str) for row in figure.rows for cell in row)
    names = {row_name(row) for row in tables["forty"].rows}
    heat, spread = drawn["forty"][-2:]
    assert {row[1] for row in heat.rows} == names
    assert len(spread.rows) == len(names)


def test_data_tables_have_the_numbers_of_the_table(tables: dict[str, TaskTable]) -> None:
    table = tables["forty"]
    (column, *_) = table.threats
    figure = clean_robust(table, column)
    assert figure is not None
    shown = {row[1]: row for row in figure.rows}
    for row in table.rows:
        cells = row.under(column.id)
        cell = cells.at(RANKING_TIER) if cells else None
        assert cell is not None
        _, _, clean, _, robust, ends, cost, _ = shown[row_name(row)]
        assert (clean, robust) == (percent(row.clean.value), percent(cell.robust.value))
        assert ends == f"{percent(cell.robust.low)}–{percent(cell.robust.high)}"
        assert cost == ("1×" if row.defense.name == "standard" else f"{row.cost.flops_ratio:.2f}×")


def test_files_stand_alone_and_are_described(drawn: dict[str, tuple[Figure, ...]]) -> None:
    for figure in (figure for figures in drawn.values() for figure in figures):
        root = ElementTree.fromstring(figure.svg)
        assert root.findtext(f"{SVG}title") == figure.title
        assert figure.description in "".join(root.itertext())
        assert not re.search(r"\bnan\b", re.sub(">[^<]*<", "><", figure.svg))
        links = [value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")]
        assert all(link.startswith("#") for link in links)
        assert root.attrib["width"] == f"{figure.size[0]}pt"
        assert figure.size[0] == 400
        assert figure.size[1] < 3000


def test_every_colour_changes_in_dark_mode_and_no_text_does(drawn: dict[str, tuple[Figure, ...]]) -> None:
    for figure in (figure for figures in drawn.values() for figure in figures):
        light, dark = ("".join(re.findall(r"<[^>]*>", svg)) for svg in (figure.svg, figure.dark_svg))
        assert {*COLOUR.findall(light)} <= {*IN_DARK}
        assert [IN_DARK[colour] for colour in COLOUR.findall(light)] == COLOUR.findall(dark)
        assert re.findall(">[^<]*<", figure.svg) == re.findall(">[^<]*<", figure.dark_svg)


def test_a_name_that_reads_like_a_colour_stays_in_dark_mode() -> None:
    table = few_rows()
    renamed = replace(
        table,
        rows=tuple(replace(row, model=row.model.model_copy(update={"name": 'fill="#ffffff"'})) for row in table.rows),
    )
    figure = heat_map(renamed)
    assert figure is not None
    assert 'fill="#ffffff"' in unescape(figure.dark_svg)


def test_names_of_others_are_text_and_cannot_reorder_what_stands_around_them(
    drawn: dict[str, tuple[Figure, ...]],
) -> None:
    for figure in drawn["names"]:
        assert "<script" not in figure.svg
        assert "\u202e" not in figure.svg
        assert not any(LONG in text for text in texts(figure))
        for text in texts(figure):
            assert text.count("\u2068") == text.count("\u2069")
            assert HEBREW not in text or "\u2068" in text
    (seeds,) = (figure for figure in drawn["names"] if figure.kind == "seed-spread")
    assert f"+ {HOSTILE}" in texts(seeds)  # "$" begins no formula
    assert any(HOSTILE in row[1] for row in seeds.rows)


def test_every_row_with_a_hostile_name_has_its_entry_in_a_legend(drawn: dict[str, tuple[Figure, ...]]) -> None:
    """matplotlib leaves out labels that begin with an underscore where it collects them itself."""
    table = few_rows()
    renamed = replace(
        table, rows=tuple(replace(row, model=row.model.model_copy(update={"name": "_m"})) for row in table.rows)
    )
    (curves, _) = (figure for figure in figures_of(renamed) if figure.kind == "security-curves")
    assert "_m" in texts(curves)


def test_a_pdf_has_embedded_truetype_fonts_and_nothing_that_changes(drawn: dict[str, tuple[Figure, ...]]) -> None:
    for figure in (drawn["few"][0], drawn["names"][-2]):
        content = figure.pdf
        assert content.startswith(b"%PDF-1.4")
        assert b"/FontFile2" in content
        assert b"/Type3" not in content
        assert b"CreationDate" not in content
        assert content == figure.pdf


PROGRAM = """
import hashlib, sys
sys.path[:0] = {paths!r}
from figure_tables import few_rows
from recgauntlet_site.figures import figures_of
digest = hashlib.sha256()
for figure in figures_of(few_rows()):
    for content in figure.files().values():
        digest.update(content)
print(digest.hexdigest())
"""


def test_files_are_the_same_bytes_in_every_process() -> None:
    program = PROGRAM.format(paths=[str(Path(__file__).resolve().parents[2] / "helpers")])
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    own = hashlib.sha256()
    for figure in figures_of(few_rows()):
        for content in figure.files().values():
            own.update(content)
    assert done.stdout == own.hexdigest() + "\n"


def test_settings_of_the_reader_change_nothing_and_are_left_alone() -> None:
    table = few_rows()
    expected = figures_of(table)[0].files()
    with matplotlib.rc_context({"font.size": 30, "text.parse_math": True}):
        before = dict(matplotlib.rcParams)
        assert figures_of(table)[0].files() == expected
        assert dict(matplotlib.rcParams) == before


def test_the_style_sheet_has_the_colours_of_all_series() -> None:
    style = style_sheet()
    for number in range(SERIES):
        assert style.count(f"--s{number}:#") == 2


def test_a_figure_in_pixels_has_its_size_twice(drawn: dict[str, tuple[Figure, ...]]) -> None:
    figure = drawn["few"][0]
    pixels = figure.png
    assert pixels[:8] == b"\x89PNG\r\n\x1a\n"
    size = tuple(int.from_bytes(pixels[at : at + 4], "big") for at in (16, 20))
    assert size == pytest.approx([2 * side for side in figure.size], abs=2)
