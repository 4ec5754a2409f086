"""The pages in a real browser, as people use them: mouse, keyboard, phone, print, dark, without scripts, by an address.

Skipped where there is no Chromium, and on continuous integration, which has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from board import HOSTILE, Board, render_records
from chromium import in_browser
from synthetic_records import make_record

from recgauntlet.records.schema import RunRecord

pytestmark = in_browser
KINDS = (
    "index.html",
    "about.html",
    "findings.html",
    "tasks/shop-standard.html",
    "tasks/shop-demo.html",
    "models/nrms.html",
)
TASK = "tasks/shop-standard.html"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def site(board: Board, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(board.files, tmp_path_factory.mktemp("site"))


def written(files: dict[str, bytes], directory: Path) -> Path:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(content)
    return directory


@pytest.fixture
def visit(browser: Any, site: Path) -> Iterator[Open]:
    """Opens a page of the site; at the end nothing was complained of, and nothing but files was asked for."""
    complaints: list[str] = []
    asked: list[str] = []
    contexts = []

    def opened(path: str, root: Path = site, **settings: Any) -> Any:
        context = browser.new_context(**settings)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{root.as_uri()}/{path}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in asked if not url.startswith(("file:", "data:,"))] == []


def shown_rows(page: Any, table: str = "#board") -> list[str]:
    rows = page.locator(f"{table} tbody tr:visible th")
    return [" ".join(text.split()) for text in rows.all_inner_texts()]


def values(page: Any, key: str, table: str = "#board") -> list[float]:
    script = (
        "([table, key]) => { const t = document.querySelector(table);"
        "const n = [...t.tHead.rows[0].cells].findIndex(c => c.dataset.key === key);"
        "return [...t.tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[n].dataset.sort) }"
    )
    return [float(value) for value in page.evaluate(script, [table, key]) if value]


def sorted_by(page: Any, key: str, table: str = "#board") -> str:
    head = page.locator(f'{table} th[data-key="{key}"]')
    head.click()
    return str(head.get_attribute("aria-sort"))


@pytest.mark.parametrize("path", KINDS)
def test_no_page_has_anything_to_complain_of(visit: Open, site: Path, path: str) -> None:
    page = visit(path)
    assert page.title()
    for row in sorted((site / "rows").iterdir())[:3]:
        page.goto(row.as_uri())


def test_a_blocked_style_would_be_seen(browser: Any, board: Board, tmp_path: Path) -> None:
    """Shows that the test above can fail: the policy is in force and the console is read."""
    root = written(board.files, tmp_path)
    file = root / "index.html"
    file.write_text(file.read_text().replace("<main", '<main style="color:red"', 1))
    page = browser.new_page()
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.goto(file.as_uri())
    assert any("Content Security Policy" in text for text in said)
    page.close()


def test_a_click_sorts_and_a_second_one_turns_it_round(visit: Open) -> None:
    page = visit(TASK)
    assert sorted_by(page, "clean") == "descending"
    order = values(page, "clean")
    assert order == sorted(order, reverse=True)
    assert len(set(order)) > 1
    assert sorted_by(page, "clean") == "ascending"
    assert values(page, "clean") == sorted(order)
    assert page.locator("#board th[aria-sort]").count() == 1


def test_everything_works_by_keyboard_alone(visit: Open) -> None:
    page = visit(TASK)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator('#board th[data-key="retained"] button').focus()
    page.keyboard.press("Enter")
    order = values(page, "retained")
    assert order == sorted(order, reverse=True)
    button = page.locator("#board button.flag:visible").first
    told = page.locator(f"#{button.get_attribute('popovertarget')}")
    button.focus()
    page.keyboard.press("Enter")
    assert told.is_visible()
    page.keyboard.press("Escape")
    assert not told.is_visible()
    page.locator('input[name="q"]').focus()
    page.keyboard.type("collapsed")
    assert shown_rows(page) == ["nrms + collapsed"]


def test_search_and_filters_say_how_much_they_leave(visit: Open) -> None:
    page = visit(TASK)
    everything = shown_rows(page)
    page.fill('input[name="q"]', "nrms pgd")
    assert len(shown_rows(page)) == 2
    assert page.locator("form.tools output").inner_text() == f"2 of {len(everything)} rows"
    page.select_option('select[name="notes"]', "ranked")
    assert len(shown_rows(page)) == 2
    page.fill('input[name="q"]', "nobody")
    assert shown_rows(page) == []
    assert "clear a filter" in page.locator("form.tools output").inner_text()
    page.click("form.tools button[type=reset]")
    page.wait_for_timeout(20)
    assert shown_rows(page) == everything


def test_the_start_page_filters_all_tables_and_chooses_a_task(visit: Open) -> None:
    page = visit("index.html")
    page.select_option('select[name="task"]', "news")
    assert page.locator("section.task:visible").count() == 1
    page.select_option('select[name="task"]', "")
    page.fill('input[name="q"]', "pgd")
    names = page.locator("table.headlines tbody tr:visible th").all_inner_texts()
    assert names
    assert all("pgd" in name for name in names)


def test_columns_tiers_and_threats_are_chosen(visit: Open) -> None:
    page = visit(TASK)

    def heads() -> list[str]:
        script = "[...document.querySelectorAll('#board thead th')].filter(h => !h.hidden).map(h => h.dataset.key)"
        return list(page.evaluate(script))

    assert "t0s" in heads()
    assert not {"t0l", "auc"} & set(heads())
    page.select_option('select[name="tier"]', "low")
    assert "t0l" in heads()
    assert "t0s" not in heads()
    page.select_option('select[name="tier"]', "all")
    page.select_option('select[name="threat"]', "embedding")
    assert {"t1l", "t1s", "t1h"} <= set(heads())
    assert "t0s" not in heads()
    page.click("details.chooser summary")
    page.check('input[name="column"][value="auc"]')
    assert "auc" in heads()
    cells = page.locator("#board tbody tr").first.locator("td:visible, th:visible").count()
    assert cells == len(heads())


def test_an_address_brings_everything_back(visit: Open) -> None:
    page = visit(TASK)
    page.fill('input[name="q"]', "nrms")
    page.select_option('select[name="tier"]', "high")
    sorted_by(page, "clean")
    sorted_by(page, "clean")
    boxes = page.locator("#board tbody tr:visible input.compare")
    boxes.nth(0).check()
    boxes.nth(2).check()
    state = page.url.partition("#")[2]
    before = shown_rows(page), values(page, "clean"), page.locator("#compared table").inner_text()
    again = visit(f"{TASK}#{state}")
    again.wait_for_timeout(20)
    assert (shown_rows(again), values(again, "clean"), again.locator("#compared table").inner_text()) == before
    assert again.locator('select[name="tier"]').input_value() == "high"
    assert again.url.partition("#")[2] == state


def test_an_address_of_nonsense_shows_the_whole_table(visit: Open) -> None:
    everything = shown_rows(visit(TASK))
    page = visit(f"{TASK}#sort=board.nothing.up&compare=x.y&columns=&task=none&models=%22%3E%3Cb%3E")
    assert shown_rows(page) == everything


def test_a_row_has_an_address_of_its_own(visit: Open, board: Board) -> None:
    page = visit(TASK)
    anchor = page.locator("#board tbody tr").nth(1).get_attribute("id")
    assert f"rows/{anchor}.html" in board.files
    for path in ("index.html", TASK):
        there = visit(f"{path}#{anchor}")
        assert there.locator("tr:target").get_attribute("id") == anchor


def test_two_to_four_rows_are_compared_side_by_side(visit: Open) -> None:
    page = visit(TASK)
    boxes = page.locator("#board tbody input.compare")
    boxes.nth(0).check()
    assert not page.locator("#compared").is_visible()
    for number in (1, 2, 3):
        boxes.nth(number).check()
        assert page.locator("#compared thead th").count() == number + 2
    assert boxes.nth(4).is_disabled()
    head = page.locator('#board th[data-key="clean"]').inner_text().strip()
    line = page.locator("#compared tbody tr", has_text=head).first
    assert len(line.locator("td").all()) == 4
    page.click("#compared button")
    assert not page.locator("#compared").is_visible()


def test_the_curves_can_be_zoomed_and_follow_the_table(visit: Open) -> None:
    page = visit(TASK)
    page.locator("#zoom summary").click()
    page.locator("#zoom canvas").wait_for()
    lines = page.locator("#zoom .u-legend .u-series")
    everything = lines.count()
    page.fill('input[name="q"]', "nrms undefended")
    assert 2 == lines.count() < everything  # the axis and one row
    over = page.locator("#zoom .u-over").bounding_box()
    page.mouse.move(over["x"] + 40, over["y"] + 40)
    page.mouse.down()
    page.mouse.move(over["x"] + 160, over["y"] + 160, steps=4)
    page.mouse.up()
    assert page.locator("#zoom canvas").is_visible()
    page.select_option("#zoom select", "1")
    assert lines.count() == 2


@pytest.mark.parametrize("path", KINDS)
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_sticks_out_at_any_width(visit: Open, site: Path, path: str, width: int) -> None:
    page = visit(path, viewport={"width": width, "height": 800})
    for _ in range(2):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.goto(next((site / "rows").iterdir()).as_uri())


def test_a_phone_shows_rows_as_cards_and_sorts_them_by_touch(visit: Open) -> None:
    page = visit(TASK, viewport={"width": 390, "height": 800}, has_touch=True)
    assert not page.locator("#board thead").is_visible() or page.locator("#board thead").bounding_box()["height"] <= 1
    assert page.evaluate("getComputedStyle(document.querySelector('#board tbody tr')).display") == "grid"
    page.select_option('select[name="sort"]', "clean")
    page.wait_for_timeout(20)
    order = values(page, "clean")
    assert order == sorted(order, reverse=True)
    page.locator("#board button.flag:visible").first.tap()
    assert page.locator(".explained:popover-open").is_visible()


def test_dark_mode_and_print_have_their_own_grounds(visit: Open) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = visit(TASK, color_scheme="light"), visit(TASK, color_scheme="dark")
    assert light.evaluate(ground) != dark.evaluate(ground)
    dark.emulate_media(media="print", color_scheme="light")
    assert dark.evaluate(ground) == "rgb(255, 255, 255)"
    assert not dark.locator("form.tools").is_visible()
    assert dark.locator("#board").is_visible()
    assert len(dark.pdf()) > 10_000


def test_without_scripts_every_table_is_whole(visit: Open) -> None:
    page = visit(TASK, java_script_enabled=False)
    assert page.locator("#board tbody tr").count() > 5
    assert page.locator("#board thead th:visible").count() == page.locator("#board thead th").count()
    assert not page.locator("form.tools").is_visible()
    page.locator("#board button.flag").first.click()
    assert page.locator(".explained:popover-open").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", [*KINDS, "row"])
def test_axe_finds_no_violation(visit: Open, site: Path, path: str, scheme: str) -> None:
    bundled = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    source = next(Path(bundled.__file__).parent.rglob("axe.min.js")).read_text(encoding="utf-8")
    rows = sorted(file.name for file in (site / "rows").iterdir() if "nrms" in file.name)
    page = visit(f"rows/{rows[0]}" if path == "row" else path, color_scheme=scheme)
    page.evaluate(source)
    found = page.evaluate(
        "axe.run({preload: false}).then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html.slice(0, 200)))"
    )
    assert found == []


def test_hostile_names_show_as_text(visit: Open) -> None:
    page = visit(TASK)
    assert page.locator("#board th", has_text=HOSTILE).count() == 1
    page.locator("#board tbody tr", has_text=HOSTILE).locator("input.compare").check()
    page.locator("#board tbody input.compare").first.check()
    assert page.locator("#compared th", has_text=HOSTILE).count() == 1


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "There are no records yet"),
        ([make_record()], "fewer than three seeds"),
        ([make_record(failure="no data")], "No run of this task has finished"),
    ],
    ids=["empty", "one", "failed"],
)
def test_little_or_nothing_has_its_own_look(visit: Open, tmp_path: Path, records: list[RunRecord], words: str) -> None:
    root = written(render_records(tmp_path / "results", records), tmp_path / "site")
    page = visit("index.html", root)
    assert words in page.content()
    for file in (root / "tasks").glob("*.html"):
        page.goto(file.as_uri())
        assert page.locator("h1").is_visible()
