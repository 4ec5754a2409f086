"""Figures in a real browser: letters of the reader's own font stay inside, and are large enough on a phone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chromium import in_browser
from picture_tables import few_rows, many_rows, odd_tables

from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet_site.pictures import pictures_of, style_sheet

pytestmark = in_browser

STYLE = Path(__file__).resolve().parents[2] / "site" / "recgauntlet_site" / "static" / "style.css"
LEAST = 8.4
"""Pixels of the smallest letters in a figure that is 360 wide."""
PROBE = """least => {
  const faults = [];
  let letters = 0;
  for (const plot of document.querySelectorAll("svg.plot")) {
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
    drawings = "".join(f'<div style="width:{width}px">{picture.svg}</div>' for picture in pictures_of(table()))
    style = STYLE.read_text(encoding="utf-8") + style_sheet()
    page = browser.new_page()
    page.set_content(f"<!doctype html><meta charset=utf-8><style>{style}</style><body>{drawings}</body>")
    found = page.evaluate(PROBE, LEAST * width / 360)
    page.close()
    assert found["letters"] > 100
    assert found["faults"] == []
