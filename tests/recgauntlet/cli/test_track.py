"""`recgauntlet track` and `run --track-to`, with TensorBoard."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from command_line import Call, Run, run_words

from recgauntlet.tracking import trackers
from recgauntlet.tracking.tensorboard import TensorBoard


@pytest.fixture
def out(finished_cells: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_cells, tmp_path / "out")
    return tmp_path / "out"


class Unreachable(TensorBoard):
    """A tracker that nothing can be logged to."""

    def log(self, run: object) -> None:
        raise ConnectionError("no \x1b[31mroute")


def test_records_and_figures_are_logged_and_the_second_time_skipped(run: Run, out: Path, tmp_path: Path) -> None:
    (out / "tiny" / "broken.json").write_text("{")
    text = run("track", out, "--to", "tensorboard")
    assert "broken.json is left out: is not complete JSON" in text
    assert "tensorboard: 2 records logged, 0 were there; figures of 1 table" in text
    assert "look: tensorboard --logdir tracking/tensorboard" in text
    assert len(list(Path("tracking/tensorboard/tiny-standard").iterdir())) == 3
    before = {path: path.read_bytes() for path in Path("tracking").rglob("*") if path.is_file()}
    assert "0 records logged, 2 were there; figures of 0 tables" in run("track", out, "--to", "tensorboard")
    assert before == {path: path.read_bytes() for path in Path("tracking").rglob("*") if path.is_file()}


def test_figures_may_be_left_out(run: Run, out: Path) -> None:
    assert "2 records logged" in run("track", out, "--to", "tensorboard", "--out", "elsewhere", "--no-figures")
    assert len(list(Path("elsewhere/tensorboard/tiny-standard").iterdir())) == 2


def test_run_logs_what_it_finished_and_what_was_done_before(run: Run, tiny_card: Path, out: Path) -> None:
    (record,) = out.rglob("nrms-pgd-0*.json")
    record.unlink()
    text = run(*run_words(tiny_card, out, "--track-to", "tensorboard", "--reuse-weights"))
    assert "1 cells done, 0 failed" in text
    assert "tracking tensorboard: tensorboard --logdir tracking/tensorboard" in text
    names = sorted(path.name[:-11] for path in Path("tracking/tensorboard/tiny-standard").iterdir())
    assert names == ["figures-of-2-rows", "nrms-pgd-seed-0", "nrms-undefended-seed-0"]


def test_a_tracker_that_fails_is_a_warning_of_run_and_an_error_of_track(
    call: Call, tiny_card: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(trackers.TRACKERS, "tensorboard", Unreachable)
    code, printed, _ = call(*run_words(tiny_card, out, "--track-to", "tensorboard"))
    assert code == 0
    assert r"warning: tensorboard could not log a run (ConnectionError: no \u001b[31mroute)" in printed
    assert "log the rest: recgauntlet track" in printed
    code, _, message = call("track", out, "--to", "tensorboard")
    assert code == 2
    assert "error: tensorboard: stopped: ConnectionError" in message


def test_a_missing_package_stops_run_before_it_starts(
    call: Call, tiny_card: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    code, _, message = call(*run_words(tiny_card, out, "--track-to", "wandb", "--overwrite"))
    assert code == 2
    assert "pip install 'recgauntlet[wandb]'" in message
