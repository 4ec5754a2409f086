"""What a plugin leaves behind is told; what is only being closed is waited for."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import IO

import pytest

from recgauntlet.testing.check import ConformanceError, require_nothing_left

HERE = Path(__file__)
needs_names = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this system does not say what is open")


@needs_names
def test_a_file_that_a_thread_is_about_to_close_is_no_leak() -> None:
    opened: list[IO[str]] = []

    def work() -> None:
        opened.append(HERE.open())
        threading.Timer(0.3, opened[-1].close).start()

    require_nothing_left(work)
    assert [file.closed for file in opened] == [True, True]


@needs_names
def test_a_file_that_stays_open_is_told() -> None:
    held: list[IO[str]] = []
    try:
        with pytest.raises(ConformanceError, match=f"{HERE.name} is still open"):
            require_nothing_left(lambda: held.append(HERE.open()))
    finally:
        for file in held:
            file.close()


def test_a_thread_that_goes_on_is_told() -> None:
    end = threading.Event()
    try:
        with pytest.raises(ConformanceError, match="is still running"):
            require_nothing_left(lambda: threading.Thread(target=end.wait).start())
    finally:
        end.set()


def test_a_setting_that_changed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECGAUNTLET_SETTING", "0")
    with pytest.raises(ConformanceError, match="the environment variable RECGAUNTLET_SETTING changed"):
        require_nothing_left(lambda: os.environ.update(RECGAUNTLET_SETTING="1"))


def test_a_file_that_was_written_is_told() -> None:
    with pytest.raises(ConformanceError, match="the file left was written"):
        require_nothing_left(lambda: Path("left").write_text("left", encoding="utf-8"))
