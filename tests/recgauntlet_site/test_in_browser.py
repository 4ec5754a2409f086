"""The page in a real browser: nothing blocked, nothing loaded, sorting works, nothing sticks out on a
phone."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from board import Board

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine to open the page with")
SWITCHES = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
]


def opened(page: str, directory: Path, probe: str = "", width: int = 1280) -> tuple[str, str]:
    """The document after its scripts ran, and what the browser's console said. `probe` runs last."""
    if probe:
        digest = base64.b64encode(hashlib.sha256(probe.encode()).digest()).decode()
        page = page.replace("script-src '", f"script-src 'sha256-{digest}' '", 1)
        page = page.replace("</body>", f"<script>{probe}</script></body>")
    file = directory / "index.html"
    file.write_text(page)
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER,
            *SWITCHES,
            f"--user-data-dir={directory / 'profile'}",
            f"--window-size={width},900",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@needs_browser
def test_the_browser_has_nothing_to_complain_of(board: Board, tmp_path: Path) -> None:
    probe = "document.body.dataset.loaded=performance.getEntriesByType('resource').map(e=>e.name).join(' ')"
    document, console = opened(board.page, tmp_path, probe)
    assert console == ""
    assert 'data-loaded=""' in document


@needs_browser
def test_a_blocked_style_would_be_seen(board: Board, tmp_path: Path) -> None:
    """Shows that the test above can fail: the policy is in force and the console is read."""
    _, console = opened(board.page.replace("<main", '<main style="color:red"', 1), tmp_path)
    assert "Content Security Policy" in console


@needs_browser
def test_a_click_sorts_by_a_column_and_keeps_rows_with_their_notes(board: Board, tmp_path: Path) -> None:
    probe = (
        "const t=[...document.querySelectorAll('table.board')].sort((a,b)=>b.tBodies.length-a.tBodies.length)[0];"
        "const b=[...t.querySelectorAll('th button')].find(b=>b.textContent.startsWith('Training'));"
        "b.click();b.click();"
        "document.body.dataset.order=[...t.tBodies].map(b=>b.rows[0].cells[b.rows[0].cells.length-1].dataset.value)"
        ".join(' ');document.body.dataset.sorted=b.parentNode.getAttribute('aria-sort');"
        "document.body.dataset.rows=[...t.tBodies].every(b=>b.rows.length===2)"
    )
    document, _ = opened(board.page, tmp_path, probe)
    found = re.search(r'data-order="([^"]+)"', document)
    assert found is not None
    order = [float(value) for value in found[1].split()]
    assert order == sorted(order, reverse=True)
    assert len(set(order)) > 1
    assert 'data-sorted="descending"' in document
    assert 'data-rows="true"' in document


@needs_browser
def test_nothing_sticks_out_on_a_phone(board: Board, tmp_path: Path) -> None:
    """Headless windows are at least 500 pixels wide, so the body is narrowed; wide tables scroll in boxes of
    their own."""
    probe = (
        "document.body.style.width='390px';"
        "document.body.dataset.out=[...document.querySelectorAll('body *')]"
        ".filter(e=>!e.closest('.scroll .wide, svg, .hidden, .skip, thead, script'))"
        ".filter(e=>e.getBoundingClientRect().right>390.5).map(e=>e.tagName+'.'+e.className).join(' ')"
    )
    document, _ = opened(board.page, tmp_path, probe, width=500)
    found = re.search(r'data-out="([^"]*)"', document)
    assert found is not None
    assert found[1] == ""
