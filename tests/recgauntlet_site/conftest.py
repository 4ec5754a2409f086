"""Makes the synthetic records of the harness's tests importable here, and gives a page made of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from board import Board, make_board
from chromium import BROWSER


@pytest.fixture(scope="session")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    """A rendered page with everything on it that a page can have."""
    return make_board(tmp_path_factory.mktemp("board"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield found
        found.close()
