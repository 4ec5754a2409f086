"""Fixtures that run `recgauntlet` in the test's own process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recgauntlet.cli import main

Call = Callable[..., tuple[int, str, str]]
Run = Callable[..., str]
OPTIONS = ("word_size=8", "heads=2", "head_size=4", "attention_size=8")


@pytest.fixture
def call(tmp_path: Path, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in the test's directory: its exit code, what it printed, and its messages."""
    monkeypatch.setenv("RECGAUNTLET_CACHE", str(tiny_cache))
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.chdir(tmp_path)

    def called(*words: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["recgauntlet", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        return int(ended.value.code or 0), shown.out, shown.err

    return called


@pytest.fixture
def run(call: Call) -> Run:
    """Runs a command, demands its exit code and gives all that it printed."""

    def checked(*words: str | Path, code: int = 0) -> str:
        found, out, err = call(*words)
        assert found == code, out + err
        return out + err

    return checked


def run_words(card: Path, out: Path, *more: str) -> list[str]:
    """`recgauntlet run` of the tiny task with the options of `tiny_task.make_spec`."""
    options = [part for option in OPTIONS for part in ("--model-option", option)]
    return ["run", "--task", str(card), "--out", str(out), "--device", "cpu", "--offline", *options, *more]
