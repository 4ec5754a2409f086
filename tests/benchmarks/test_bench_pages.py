"""What the pages take in a browser: sorting and filtering a table of 2,000 rows, and the bytes of the start page."""

from __future__ import annotations

import random
import re
import shutil
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_figures import Figure
from chromium import BROWSER

ROWS = 2000
RECORDS, SEEDS = 2000, 3
PUBLIC = Path(__file__).resolve().parents[2] / "site" / "public"
pytestmark = [pytest.mark.measures, pytest.mark.timeout(600)]
PRESS = """() => document.querySelector('#board th[data-key="clean"] button').click()"""
SEARCH = """() => {
  const field = document.querySelector('input[name=q]');
  field.value = field.value ? '' : 'pgd';
  field.dispatchEvent(new Event('input', {bubbles: true}));
}"""


def lengthened(page: str) -> str:
    """The page with its rows again and again, each with an id and values of its own, as the template would have it."""
    page = page.replace('class="board sortable"', 'class="board sortable many"')
    before, table, rest = re.split(r"(?<=<tbody>)(.*?)(?=</tbody>)", page, maxsplit=1, flags=re.DOTALL)
    rows = re.findall(r"<tr id=.*?</tr>", table, flags=re.DOTALL)
    rng = random.Random(0)
    made = []
    for number in range(ROWS):
        row = re.sub(r'<tr id="[^"]*"', f'<tr id="row-{number}"', rows[number % len(rows)])
        made.append(re.sub(r'data-sort="[^"]*"', lambda found: f'data-sort="{rng.random():.6f}"', row))
    return before + "".join(made) + rest


@pytest.fixture(scope="module")
def long_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None:
        pytest.skip("no Chromium on this machine to open the pages with")
    root = tmp_path_factory.mktemp("long")
    shutil.copytree(PUBLIC / "assets", root / "assets")
    file = root / "tasks" / "long.html"
    file.parent.mkdir()
    file.write_text(lengthened((PUBLIC / "tasks" / "video-watch-standard.html").read_text(encoding="utf-8")), "utf-8")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(file.as_uri())
        assert page.locator("#board tbody tr").count() == ROWS
        yield page
        browser.close()


@pytest.mark.parametrize(("what", "script"), [("sort", PRESS), ("filter", SEARCH)])
def test_2000_rows(long_page: Any, book: Callable[[Figure], None], what: str, script: str) -> None:
    session = long_page.context.new_cdp_session(long_page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def spent() -> tuple[float, float]:
        told = {one["name"]: 1e3 * one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        return told["ScriptDuration"], told["LayoutDuration"] + told["RecalcStyleDuration"]

    scripts, layouts = [], []
    for _ in range(9):
        before = spent()
        long_page.evaluate(script)
        long_page.wait_for_timeout(300)
        after = spent()
        scripts.append(after[0] - before[0])
        layouts.append(after[1] - before[1])
    told = (
        f"processor time of the page's own thread, the median of 9 ({min(scripts):.0f} to {max(scripts):.0f}), until "
        f"the rows stand as they should; the browser then lays them out anew in {statistics.median(layouts):.0f} ms"
    )
    book(Figure(f"ms to {what} {ROWS:,} rows of a task's table", statistics.median(scripts), told, at_most=100))


def test_the_start_page_of_2000_records(book: Callable[[Figure], None]) -> None:
    page = (PUBLIC / "index.html").read_text(encoding="utf-8")
    rows = re.findall(r"<tr id=.*?</tr>", page, flags=re.DOTALL)
    one = statistics.mean(len(row.encode()) for row in rows if f"<td>{SEEDS}</td>" in row)
    rest = len(page.encode()) - sum(len(row.encode()) for row in rows)
    size = rest + one * RECORDS / SEEDS
    told = f"{one:.0f} bytes a row of {SEEDS} seeds, {rest / 1e3:.1f} kB beside the rows, no plots"
    book(Figure(f"kB of a start page of {RECORDS:,} records", size / 1e3, told, at_most=300))
