"""Take the screenshots in docs/screens: `make site`, then `python tests/helpers/take_screenshots.py`.

Needs Chromium. Look at the five pictures before you commit them.
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
    """A screenshot: the page, the size of the window in pixels, and a script that runs before."""

    name: str
    path: str
    width: int
    height: int
    script: str = "() => {}"
    dark: bool = False


FIRST_ROW = "() => { document.querySelector('#board tbody th a').click() }"
COMPARE = "() => { for (const box of [...document.querySelectorAll('input.compare')].slice(0, 3)) box.click() }"
SHOTS = (
    Shot("start", "index.html", 1280, 900),
    Shot("task", TASK, 1280, 1100, COMPARE),
    Shot("row", TASK, 1280, 1100, FIRST_ROW),
    Shot("phone", TASK, 390, 844),
    Shot(
        "dark",
        TASK,
        1280,
        1100,
        "() => { document.getElementById('plots').scrollIntoView({behavior: 'instant'}) }",
        dark=True,
    ),
)


def take(page: Page, shot: Shot) -> None:
    """Open the page, run the script, and write the picture."""
    page.goto((PAGES / shot.path).as_uri())
    page.evaluate(shot.script)
    page.wait_for_timeout(1000)
    page.screenshot(path=PICTURES / f"{shot.name}.png")


def main() -> None:
    """Take all screenshots."""
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        for shot in SHOTS:
            context = browser.new_context(
                viewport={"width": shot.width, "height": shot.height},
                color_scheme="dark" if shot.dark else "light",
            )
            take(context.new_page(), shot)
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
