"""Figures in a real browser: letters of the reader's own font stay inside, and are large enough on a phone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from chromium import in_browser
from figure_tables import few_rows, many_rows, odd_tables

from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet_site.figures import figures_of

pytestmark = in_browser

LEAST = 8.4
"""Pixels of the smallest letters in a figure that is 360 wide."""
PROBE = """least => {
  const faults = [];
  let letters = 0;
  for (const plot of document.querySelectorAll("svg")) {
    const sheet = plot.getBoundingClientRect(), scale = sheet.width / plot.viewBox.baseVal.width;
    for (const text of plot.querySelectorAll("text")) {
      const box = text.getBoundingClientRect(), size = parseFloat(getComputedStyle(text).fontSize) * scale;
      letters += 1;
      if (box.left < sheet.left - 2 || box.right > sheet.right + 2 || box.bottom > sheet.bottom + 2)
        faults.push(`${text.textContent} sticks out`);
      if (size < least) faults.push(`${text.textContent} has ${size} px`);
    }
  }
  return {letters, faults};
}"""


@pytest.mark.parametrize("width", [360, 1100])
@pytest.mark.parametrize("table", [few_rows, many_rows, lambda: odd_tables()["names"]], ids=["few", "forty", "names"])
def test_letters_are_inside_and_legible(browser: Any, table: Callable[[], TaskTable], width: int) -> None:
    """Pages show a figure as an image as wide as its column; here it stands in the page, where letters are measured."""
    drawings = [figure.svg[figure.svg.index("<svg") :] for figure in figures_of(table())]
    shown = "".join(f'<div style="width:{width}px">{drawing}</div>' for drawing in drawings)
    page = browser.new_page()
    page.set_content(f"<!doctype html><meta charset=utf-8><style>svg{{width:100%;height:auto}}</style>{shown}")
    found = page.evaluate(PROBE, LEAST * width / 360)
    page.close()
    assert found["letters"] > 100
    assert found["faults"] == []
