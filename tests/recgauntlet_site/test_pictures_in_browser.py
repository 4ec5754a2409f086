"""Figures in a real browser: letters of the reader's own font stay inside, and are large enough on a phone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from picture_tables import few_rows, many_rows, odd_tables
from test_in_browser import needs_browser, opened

from recgauntlet.rows import TaskTable
from recgauntlet_site.pictures import pictures_of, style_sheet

STYLE = Path(__file__).resolve().parents[2] / "site" / "recgauntlet_site" / "templates" / "style.css"
PROBE = """
const faults = [];
let letters = 0;
for (const plot of document.querySelectorAll("svg.plot")) {
  const sheet = plot.getBoundingClientRect(), scale = sheet.width / plot.viewBox.baseVal.width;
  for (const text of plot.querySelectorAll("text")) {
    const box = text.getBoundingClientRect();
    letters += 1;
    if (box.left < sheet.left - 2 || box.right > sheet.right + 2 || box.bottom > sheet.bottom + 2)
      faults.push(`${text.textContent} sticks out`);
    const size = parseFloat(getComputedStyle(text).fontSize) * scale;
    if (size < LEAST) faults.push(`${text.textContent} has ${size} px`);
  }
}
document.body.dataset.found = JSON.stringify({letters, faults});
"""


@needs_browser
@pytest.mark.parametrize("width", [360, 1100])
@pytest.mark.parametrize("table", [few_rows, many_rows, lambda: odd_tables()["names"]], ids=["few", "forty", "names"])
def test_letters_are_inside_and_legible(table: Callable[[], TaskTable], width: int, tmp_path: Path) -> None:
    drawings = "".join(f'<div style="width:{width}px">{picture.svg}</div>' for picture in pictures_of(table()))
    style = STYLE.read_text(encoding="utf-8") + style_sheet()
    page = f"<!doctype html><meta charset=utf-8><style>{style}</style><body>{drawings}</body>"
    document, _ = opened(page, tmp_path, PROBE.replace("LEAST", str(8.4 * width / 360)), width=1280)
    (told,) = re.findall(r'data-found="([^"]*)"', document)
    found = json.loads(told.replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    assert found["letters"] > 100
    assert found["faults"] == []
