"""What the pages take in a browser: sorting and filtering a table of 2,000 rows, and the bytes of the start page."""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_figures import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "recgauntlet_site"))

from chromium import BROWSER

ROWS = 2000
RECORDS, SEEDS = 2000, 3
PUBLIC = Path(__file__).resolve().parents[2] / "site" / "public"
pytestmark = [pytest.mark.measures, pytest.mark.timeout(600)]
LONG_TABLE = """rows => {
  const body = document.querySelector('#board').tBodies[0], own = [...body.rows];
  while (body.rows.length < rows) {
    const row = own[body.rows.length % own.length].cloneNode(true);
    row.removeAttribute('id');
    for (const cell of row.cells) if (cell.dataset.sort) cell.dataset.sort = Math.random();
    body.append(row);
  }
}"""
SORT = """() => new Promise(done => {
  const began = performance.now();
  document.addEventListener('sort-end', () => done(performance.now() - began), {once: true});
  document.querySelector('#board th[data-key="clean"]').click();
})"""
FILTER = """() => {
  const began = performance.now(), field = document.querySelector('input[name=q]');
  field.value = field.value ? '' : 'pgd';
  field.dispatchEvent(new Event('input', {bubbles: true}));
  return performance.now() - began;
}"""


@pytest.fixture(scope="module")
def long_page() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None:
        pytest.skip("no Chromium on this machine to open the pages with")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((PUBLIC / "tasks" / "video-watch-standard.html").as_uri())
        page.evaluate(LONG_TABLE, ROWS)
        yield page
        browser.close()


@pytest.mark.parametrize(("what", "script", "most"), [("sort", SORT, 100), ("filter", FILTER, 100)])
def test_2000_rows(long_page: Any, book: Callable[[Figure], None], what: str, script: str, most: int) -> None:
    times = []
    for _ in range(9):
        times.append(float(long_page.evaluate(script)))
        long_page.wait_for_timeout(100)
    told = f"the median of 9, {min(times):.0f} to {max(times):.0f} ms, until the rows stand in their order"
    book(Figure(f"ms to {what} {ROWS:,} rows of a task's table", statistics.median(times), told, at_most=most))


def test_the_start_page_of_2000_records(book: Callable[[Figure], None]) -> None:
    page = (PUBLIC / "index.html").read_text(encoding="utf-8")
    rows = re.findall(r"<tr id=.*?</tr>", page, flags=re.DOTALL)
    one = statistics.mean(len(row.encode()) for row in rows)
    rest = len(page.encode()) - one * len(rows)
    size = rest + one * RECORDS / SEEDS
    told = f"{one:.0f} bytes a row of {SEEDS} seeds, {rest / 1e3:.1f} kB beside the rows, no plots"
    book(Figure(f"kB of a start page of {RECORDS:,} records", size / 1e3, told, at_most=300))
