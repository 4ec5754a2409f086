"""A sweep: what is planned, what happens to cells that die, and what a stopped sweep leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_task import make_spec, write_task

from recgauntlet.core.errors import CardError, OutputError, RecordError
from recgauntlet.core.spec import CellSpec
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.schema import Failure, RunRecord
from recgauntlet.runner.engine import LocalEngine
from recgauntlet.runner.plan import plan
from recgauntlet.runner.record import record_dead_cell
from recgauntlet.runner.sweep import run_sweep

OPTIONS = ("word_size=8", "heads=2", "head_size=4", "attention_size=8")
COMMAND = ["run", *(part for option in OPTIONS for part in ("--model-option", option))]
COMMAND += ["--device", "cpu", "--offline", "--workers", "1"]


class Notes:
    """A watcher that keeps what it is told of each defense."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def started(self, name: str) -> None:
        self.told.append(("started", name.split()[2]))

    def progress(self, name: str, what: str, share: float) -> None:
        assert 0.0 <= share <= 1.0
        self.told.append(("progress", name.split()[2]))

    def finished(self, name: str, result: str, failure: str) -> None:
        self.told.append(("finished", name.split()[2]))

    def of(self, what: str) -> list[str]:
        return [defense for told, defense in self.told if told == what]


@pytest.fixture
def out(finished_cells: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_cells, tmp_path / "out")
    return tmp_path / "out"


@pytest.fixture
def spec(tiny_card: Path, tiny_cache: Path, out: Path) -> Callable[..., CellSpec]:
    return lambda defense="standard", seed=0: make_spec(tiny_card, out, tiny_cache, defense, seed)


def leftovers(folder: Path) -> list[Path]:
    parts = [path for path in folder.rglob("*") if path.suffix == ".part" or path.name == ".writable"]
    return [path for path in parts if ".cells" not in path.parts]


def reseal(path: Path, change: Callable[[RunRecord], RunRecord]) -> bytes:
    write_record(change(read_record(path)), path)
    return path.read_bytes()


def test_twins_come_first_and_say_why(spec: Any) -> None:
    cells = plan([spec("pgd", 1), spec("fgm", 1), spec("standard", 2)])
    assert [(c.spec.defense, c.spec.seed, bool(c.reason)) for c in cells] == [
        ("standard", 2, False),
        ("standard", 1, True),
        ("pgd", 1, False),
        ("fgm", 1, False),
    ]
    assert "twin" in cells[1].reason
    assert {c.state for c in cells} == {"new"}


def test_finished_cells_are_done_and_failed_ones_are_tried_again(spec: Any) -> None:
    assert [c.state for c in plan([spec("pgd")])] == ["done", "done"]
    failure = Failure(kind="ProcessDied", message="gone", stage="process")
    write_record(record_dead_cell(spec("pgd"), failure, {}, {}), spec("pgd").record_path)
    assert [c.state for c in plan([spec("pgd")])] == ["done", "failed before"]
    assert [c.state for c in plan([spec("pgd")], overwrite=True)] == ["done", "new"]


def test_overwrite_replaces_what_was_named_and_a_twin_only_where_it_cannot_serve(spec: Any) -> None:
    def planned() -> list[tuple[str, str]]:
        cells = plan([spec("pgd")], overwrite=True)
        return [
            (cell.state, cell.reason.removeprefix("the undefended twin that the others are compared with"))
            for cell in cells
        ]

    assert planned() == [("done", ", reused with its record and weights"), ("new", "")]
    assert [c.state for c in plan([spec(), spec("pgd")], overwrite=True)] == ["new", "new"]
    spec().checkpoint_path.unlink()
    assert planned()[0] == ("done", ", reused with its record alone: each cell trains its lost weights again")
    path = spec().record_path
    whole = path.read_bytes()
    reseal(path, lambda r: r.model_copy(update={"suite": r.suite.model_copy(update={"fingerprint": "0" * 64})}))
    older = "; its record was made under another version of the task or the attack suite"
    assert planned() == [("new", older), ("new", "")]
    path.write_bytes(whole[:500])
    assert planned()[0][0] == "new"


@pytest.mark.parametrize("field", ["task", "suite"])
def test_a_record_of_another_card_or_suite_stands_in_the_way(spec: Any, field: str) -> None:
    path = spec().record_path
    changes = {"fingerprint": "0" * 64} | ({"card": None} if field == "task" else {})
    before = reseal(
        path,
        lambda r: r.model_copy(update={field: getattr(r, field).model_copy(update=changes)}),
    )
    with pytest.raises(RecordError, match="--overwrite") as caught:
        plan([spec()])
    assert caught.value.field == f"{field}.fingerprint"
    assert path.read_bytes() == before
    assert [c.state for c in plan([spec()], overwrite=True)] == ["new"]


@pytest.mark.parametrize(("model", "defense"), [("0" * 64, None), (None, "0" * 64), ("", "")])
def test_a_record_of_other_source_code_is_no_finished_cell(spec: Any, model: str | None, defense: str | None) -> None:
    changes = {name: source for name, source in (("model", model), ("defense", defense)) if source is not None}
    reseal(
        spec("pgd").record_path,
        lambda r: r.model_copy(
            update={name: getattr(r, name).model_copy(update={"source": new}) for name, new in changes.items()}
        ),
    )
    assert [c.state for c in plan([spec("pgd")])] == ["done", "changed"]
    assert [c.state for c in plan([replace(spec("pgd"), reuse_weights=True)])] == ["done", "done"]


def test_a_broken_record_stands_in_the_way(spec: Any) -> None:
    path = spec().record_path
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RecordError, match="not complete JSON"):
        plan([spec()])
    assert len(path.read_bytes()) == 500


@pytest.mark.slow
def test_cells_that_die_or_fail_are_recorded_and_the_sweep_goes_on(spec: Any, out: Path, test_plugins: Path) -> None:
    notes, seen = Notes(), list[RunRecord]()
    cells = [spec("exits"), spec("killed"), spec("nan-loss"), spec("fgm")]
    records = run_sweep(cells, notes, LocalEngine(), on_record=seen.append)
    assert tuple(seen) == records
    assert notes.of("started") == notes.of("finished") == ["exits", "killed", "nan-loss", "fgm"]
    assert set(notes.of("progress")) >= {"exits", "fgm"}
    assert [record.status for record in records] == ["failed", "failed", "failed", "ok"]
    exits, killed, nan_loss, _ = (record.failure for record in records)
    assert exits is not None
    assert (exits.kind, exits.stage) == ("ModelProcessError", "serving")
    assert "exit code 3" in exits.message
    assert killed is not None
    assert "killed by signal 9" in killed.message
    assert nan_loss is not None
    assert (nan_loss.kind, nan_loss.stage) == ("PluginError", "training")
    for defense in ("exits", "killed", "nan-loss", "fgm"):
        assert read_record(spec(defense).record_path).defense.name == defense
    assert leftovers(out) == []


@pytest.mark.slow
def test_a_twin_runs_before_what_needs_it_even_with_two_workers(tiny_card: Path, tiny_cache: Path, out: Path) -> None:
    shutil.rmtree(out)
    notes = Notes()
    cells = [make_spec(tiny_card, out, tiny_cache, "fgm"), make_spec(tiny_card, out, tiny_cache)]
    records = run_sweep(cells, notes, LocalEngine(2))
    assert [record.status for record in records] == ["ok", "ok"]
    order = [told for told in notes.told if told[0] != "progress"]
    assert order == [("started", "undefended"), ("finished", "undefended"), ("started", "fgm"), ("finished", "fgm")]


def test_a_place_that_cannot_be_written_stops_the_sweep(spec: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        run_sweep([replace(spec(), out=tmp_path / "file" / "below"), spec("fgm")], Notes(), LocalEngine())
    assert not spec("fgm").record_path.exists()


def hear_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def command(tmp_path: Path, tiny_cache: Path, test_plugins: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `python -m recgauntlet ...` with the test plugins visible; killed at the end if still there."""
    started: list[subprocess.Popen[str]] = []
    card = write_task(tmp_path / "task")
    environment = os.environ | {
        "PYTHONPATH": str(test_plugins),
        "RECGAUNTLET_CACHE": str(tiny_cache),
        "TEST_GATE": str(tmp_path / "gate"),
        "COLUMNS": "200",
    }

    def start(*arguments: str) -> subprocess.Popen[str]:
        words = [*COMMAND, "--task", str(card), "--out", str(tmp_path / "swept"), *arguments]
        process = subprocess.Popen(
            [sys.executable, "-m", "recgauntlet", *words],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            # a suite started in the background ignores Ctrl-C, and so would its children
            preexec_fn=hear_interrupts,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def waits_until(condition: Callable[[], bool], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def waiting(swept: Path) -> int:
    """The process id of the cell that waits for its gate, once it is there."""

    def notes() -> list[int]:
        found = [path.read_text() for path in swept.glob(".cells/**/waiting.pid")]
        return [int(text) for text in found if text]

    waits_until(lambda: bool(notes()))
    return notes()[0]


def alive(process: int) -> bool:
    """Whether a process runs: a zombie that nobody has collected does not."""
    try:
        os.kill(process, 0)
        status = Path(f"/proc/{process}/stat")
        return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def states(folder: Path) -> dict[str, str]:
    found = {path.name: json.loads(path.read_text())["status"] for path in (folder / "tiny").rglob("*.json")}
    return {name.split("+")[0].removesuffix(".json"): status for name, status in found.items()}


@pytest.mark.slow
def test_a_killed_sweep_loses_the_cell_in_flight_alone(command: Any, tmp_path: Path) -> None:
    swept = tmp_path / "swept"
    process = command("--defense", "standard,waits,fgm")
    worker = waiting(swept)
    assert states(swept) == {"nrms-standard-0": "ok"}
    before = {path: path.read_bytes() for path in swept.rglob("*.json")}
    process.kill()
    process.wait()
    waits_until(lambda: not alive(worker), 20)
    assert states(swept) == {"nrms-standard-0": "ok"}
    assert leftovers(swept) == []
    (tmp_path / "gate").write_text("open")
    again = command("--defense", "standard,waits,fgm")
    output, _ = again.communicate(timeout=250)
    assert again.returncode == 0, output
    assert "1 exist already" in output
    assert "2 cells done, 0 failed" in output
    assert states(swept) == {"nrms-standard-0": "ok", "nrms-waits-0": "ok", "nrms-fgm-0": "ok"}
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_says_so_and_keeps_what_is_finished(
    command: Any, tmp_path: Path, number: signal.Signals
) -> None:
    swept = tmp_path / "swept"
    process = command("--defense", "standard,waits")
    worker = waiting(swept)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "stopped; finished cells are kept" in output
    assert "Traceback" not in output
    waits_until(lambda: not alive(worker), 20)
    assert states(swept) == {"nrms-standard-0": "ok"}
    assert leftovers(swept) == []


def test_two_cards_of_one_file_name_are_refused_before_anything_is_lost(spec: Any, tmp_path: Path) -> None:
    other = write_task(tmp_path / "elsewhere")
    one = spec()
    assert Path(one.task).name == other.name
    with pytest.raises(CardError, match="replace each other"):
        plan([one, replace(one, task=str(other))])
