"""Screenshots of the main pages for docs/screens: `python tests/helpers/take_screenshots.py`.

Needs Chromium and the public page (`recgauntlet site`). Look at what it writes before you commit it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chromium import BROWSER
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "site" / "public"
PICTURES = ROOT / "docs" / "screens"
TASK = "tasks/video-watch-standard.html"


@dataclass(frozen=True)
class Shot:
    """A state of a page: where it is, what is done there, and how wide and tall the window is."""

    name: str
    path: str
    width: int
    height: int
    script: str = "() => {}"
    dark: bool = False
    scripts: bool = True


FIRST_ROW = "() => { document.querySelector('#board tbody th a').click() }"
SCROLL = "id => { document.getElementById(id).scrollIntoView({behavior: 'instant'}) }"
COMPARE = "() => { for (const box of [...document.querySelectorAll('input.compare')].slice(0, 3)) box.click() }"
FLAG = "() => { document.querySelector('#board button.flag').click() }"
SHOTS = (
    Shot("start", "index.html", 1280, 900),
    Shot("start-dark", "index.html", 1280, 900, dark=True),
    Shot("task-compared", TASK, 1280, 1000, COMPARE),
    Shot("task-flag", "tasks/news-click-standard.html", 1280, 900, FLAG),
    Shot("task-plots", TASK, 1280, 1000, f"() => ({SCROLL})('plots')"),
    Shot("task-examples", "tasks/ecommerce-purchase-standard.html", 1280, 900, f"() => ({SCROLL})('examples')"),
    Shot("row", TASK, 1280, 1100, FIRST_ROW),
    Shot("phone", TASK, 390, 844),
    Shot("without-scripts", TASK, 1280, 700, scripts=False),
)


def take(page: Page, shot: Shot) -> None:
    """Open the page, bring it into its state, and write the picture."""
    page.goto((PAGES / shot.path).as_uri())
    if shot.scripts:
        page.evaluate(shot.script)
    page.wait_for_timeout(300)
    page.screenshot(path=PICTURES / f"{shot.name}.png")


def main() -> None:
    """Take every picture."""
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        for shot in SHOTS:
            context = browser.new_context(
                viewport={"width": shot.width, "height": shot.height},
                color_scheme="dark" if shot.dark else "light",
                java_script_enabled=shot.scripts,
            )
            take(context.new_page(), shot)
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
