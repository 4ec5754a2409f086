"""The command line: help without torch, what run, list and show print, and progress."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from command_line import Run, run_words
from rich.console import Console
from tiny_task import make_spec

from recgauntlet.attacks.poisoning.suite import POISONING_VERSION
from recgauntlet.attacks.suite import SUITE_VERSION, suite_ref
from recgauntlet.cli.progress import SweepProgress
from recgauntlet.core.card import load_card
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.schema import Failure, RunRecord


@pytest.fixture
def out(finished_cells: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_cells, tmp_path / "out")
    return tmp_path / "out"


def test_the_module_runs_as_the_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "recgauntlet", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    package, commit, suite, poisoning = done.stdout.splitlines()
    assert package == f"recgauntlet, version {version('recgauntlet')}"
    assert re.fullmatch("commit ([0-9a-f]{40}|unknown: not run from a checkout)", commit)
    assert suite == f"suite gauntlet {SUITE_VERSION} ({suite_ref().fingerprint[:16]})"
    assert poisoning == f"attacks on training data {POISONING_VERSION}"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("tasks", ("video-watch", "ecommerce-purchase", "history-perturbation", "standard, demo")),
        ("models", ("nrms", "bert", "word_size=", "candidate-text")),
        ("defenses", ("none", "fgsm", "fgm", "pgd", "epsilon=")),
        ("attacks", ("suite ", "embedding", "history")),
    ],
)
def test_list_shows_what_is_installed_and_what_it_takes(run: Run, kind: str, expected: tuple[str, ...]) -> None:
    text = run("list", kind)
    assert all(word in text for word in expected), text


def test_names_are_never_broken_in_two(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert "ecommerce-purchase " in run("list", "tasks")


def test_show_tells_a_record_in_words(run: Run, tiny_card: Path, tiny_cache: Path, out: Path) -> None:
    path = make_spec(tiny_card, out, tiny_cache, "pgd").record_path
    record = read_record(path)
    assert record.clean is not None
    labels = record.clean.labels.to_bool()
    right = float(((record.clean.scores.to_float() > 0) == labels).mean())
    assert record.task.card == load_card(tiny_card)  # no package has it
    text = run("show", path)
    assert "tiny (standard) / nrms / pgd / seed 0" in text
    assert f"clean accuracy  {right:.1%} of {len(labels)} examples" in text
    for threat in record.threats:
        (line,) = (line for line in text.splitlines() if line.startswith(threat.id + " "))
        assert all(f"{tier.robust.to_bool().mean():.1%}" in line for tier in threat.tiers)
        assert ("not ranked" in line) != threat.ranked
    assert "x its undefended twin" in text
    passed = sum(gate.passed for gate in record.gates)
    assert f"{passed} of {len(record.gates)} passed" in text
    assert text.count("FLAGGED") == len(record.gates) - passed


def test_show_tells_why_a_cell_failed(run: Run, tiny_card: Path, tiny_cache: Path, out: Path) -> None:
    path = make_spec(tiny_card, out, tiny_cache).record_path
    write_record(_failed(read_record(path)), path)
    assert "failed while training: [bold]no luck[/bold]" in run("show", path)


def test_a_finished_plan_is_shown_and_nothing_runs(run: Run, tiny_card: Path, out: Path) -> None:
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    text = run(*run_words(tiny_card, out))
    assert "Plan: 2 cells" in text
    assert text.count("1 exist already") == 2
    assert "cells done" not in text
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_large_plan_is_shown_and_not_its_table(
    run: Run, tiny_card: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "accuracy on" in run(*run_words(tiny_card, out))
    monkeypatch.setattr("recgauntlet.cli.run.MOST_SHOWN", 1)
    text = run(*run_words(tiny_card, out))
    assert "Plan: 2 cells" in text
    assert f"recgauntlet table {out}" in text
    assert "accuracy on" not in text


def test_a_dry_run_shows_twins_and_writes_nothing(run: Run, tiny_card: Path, tmp_path: Path) -> None:
    text = run(*run_words(tiny_card, tmp_path / "new", "--defense", "fgm", "--seeds", "0,1", "--dry-run"))
    assert "Plan: 4 cells" in text
    assert "the undefended twin" in text
    assert "0,1" in text
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_overwrite_replaces_and_says_what_comes_next(run: Run, tiny_card: Path, tiny_cache: Path, out: Path) -> None:
    path = make_spec(tiny_card, out, tiny_cache).record_path
    old = read_record(path)
    text = run(*run_words(tiny_card, out, "--defense", "standard", "--overwrite"))
    assert "1 cells done, 0 failed" in text
    assert f"next: recgauntlet site --results {out} --out {out}-site" in text
    new = read_record(path)
    assert new.weights_sha256 == old.weights_sha256
    assert new.digest != old.digest


def test_attack_gives_the_card_of_the_cell(run: Run, tiny_card: Path, tiny_cache: Path, out: Path) -> None:
    spec = make_spec(tiny_card, out, tiny_cache, "pgd")
    words = ["attack", spec.checkpoint_path, "--task", tiny_card, "--twin", spec.twin().checkpoint_path]
    text = run(*words, "--record", out / "again.json", "--device", "cpu", "--offline")
    assert "tiny (standard) / nrms / pgd / seed 0" in text
    cell, again = read_record(spec.record_path), read_record(out / "again.json")
    assert again.clean == cell.clean
    assert again.weights_sha256 == cell.weights_sha256
    assert [[tier.robust for tier in threat.tiers] for threat in again.threats] == [
        [tier.robust for tier in threat.tiers] for threat in cell.threats
    ]
    assert (again.epochs, again.training_commit) == (cell.epochs, cell.training_commit)
    assert again.cost is not None
    assert cell.cost is not None
    assert (again.cost.flops, again.cost.flops_ratio) == (cell.cost.flops, cell.cost.flops_ratio)


def test_without_a_terminal_progress_is_lines_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("recgauntlet.cli.progress.time.monotonic", lambda: now[0])
    written = io.StringIO()
    with SweepProgress(Console(file=written, width=200), 2) as progress:
        progress.started("one")
        progress.progress("one", "reading data", 0.0)
        now[0] += 20
        progress.progress("one", "training", 0.5)
        now[0] += 20
        progress.finished("one", "40 s", "")
        progress.started("two")
        progress.finished("two", "", "training: [bold]no luck[/bold]")
    lines = written.getvalue().splitlines()
    assert lines == [
        "  one: training; 0 of 2 cells, about 1 min left",
        "done    one, 40 s; 1 of 2 cells, about 40 s left",
        "failed  two: training: [bold]no luck[/bold]",
    ]


def test_on_a_terminal_progress_is_bars() -> None:
    written = io.StringIO()
    with SweepProgress(Console(file=written, force_terminal=True, width=160), 2) as progress:
        progress.started("one")
        progress.progress("one", "training, epoch 1 of 6", 0.25)
        progress.finished("one", "3 s", "")
    text = written.getvalue()
    assert "━" in text
    assert "1 of 2 cells" in text
    assert " 50 %" in text


def test_a_sweep_of_nothing_has_progress_too() -> None:
    written = io.StringIO()
    with SweepProgress(Console(file=written, force_terminal=True, width=160), 0):
        pass
    assert "0 cells" in written.getvalue()


def _failed(record: RunRecord) -> RunRecord:
    failure = Failure(kind="PluginError", message="[bold]no luck[/bold]", stage="training")
    return record.model_copy(update={"status": "failed", "failure": failure})


def test_help_does_not_wait_for_torch(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['recgauntlet', '--help']\n"
        "import recgauntlet.cli\n"
        "try:\n    recgauntlet.cli.main()\n"
        "except SystemExit as ended:\n    assert not ended.code\n"
        "assert 'torch' not in sys.modules, 'torch was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert "recgauntlet run --track demo" in done.stdout


def test_what_a_plugin_sends_as_progress_reaches_the_terminal_as_text() -> None:
    written = io.StringIO()
    with SweepProgress(Console(file=written, force_terminal=True, width=120), 1) as bars:
        bars.started("cell")
        bars.progress("cell", "\x1b[2Jowned [link=https://example.org]here", 0.5)
    assert "owned" in written.getvalue()
    assert "\x1b[2J" not in written.getvalue()
    assert "[link=https://example.org]" in written.getvalue()
