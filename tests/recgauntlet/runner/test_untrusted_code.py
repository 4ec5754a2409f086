"""A defense whose code replaces the evaluator: its cell is evaluated without it, and a record that it made is found."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import create_autospec

import numpy as np
import pytest
from tiny_task import make_spec

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.spec import CellSpec
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.records.io import read_record
from recgauntlet.records.schema import RunRecord, robust_accuracy
from recgauntlet.runner import cell_processes
from recgauntlet.runner.engine import LocalEngine
from recgauntlet.runner.processes import Watcher
from recgauntlet.runner.submission import rerun
from recgauntlet.runner.sweep import run_sweep
from recgauntlet.runner.worker import CellJob
from recgauntlet.training.build import open_cell, rows_kept
from recgauntlet.training.checkpoint import read_info

pytestmark = pytest.mark.timeout(300)
OF_THE_RUN = {"defense", "started", "finished", "digest", "cost", "environment"}
IN_PROCESS = """
import sys
from dataclasses import replace
from pathlib import Path
from tiny_task import make_spec
from recgauntlet.runner.cell import run_cell
spec = make_spec(*map(Path, sys.argv[1:4]), sys.argv[4])
assert run_cell(replace(spec, model=sys.argv[5])).failure is None
"""


@pytest.fixture
def spec(tiny_card: Path, tiny_cache: Path, finished_cells: Path, tmp_path: Path, test_plugins: Path) -> Any:
    out = tmp_path / "out"
    shutil.copytree(finished_cells, out)
    _restart_the_fork_server()
    yield lambda defense, model="nrms": replace(make_spec(tiny_card, out, tiny_cache, defense), model=model)
    _restart_the_fork_server()


def _restart_the_fork_server() -> None:
    """It keeps the environment that it was started in."""
    from multiprocessing import forkserver

    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def results(record: RunRecord) -> str:
    """All that was measured, without times."""
    assert record.failure is None, record.failure
    content = record.model_dump(mode="json", exclude=OF_THE_RUN)
    for threat in content["threats"]:
        for tier in threat["tiers"]:
            for attack in tier["attacks"]:
                del attack["effort"]["seconds"]
    return json.dumps(content, sort_keys=True)


@pytest.mark.slow
def test_a_defense_that_replaces_the_attacks_gets_the_record_of_an_honest_one(spec: Any) -> None:
    specs = [spec("patches-the-evaluator"), spec("writes-inside")]  # both train plainly
    patched, honest = run_sweep(specs, create_autospec(Watcher, instance=True), LocalEngine())
    assert results(patched) == results(honest)
    assert any(robust_accuracy(tier) < 0.5 for threat in honest.threats for tier in threat.tiers)
    assert patched.defense.summary.startswith("Plugins that replace the attacks")  # from the process that trained
    assert (patched.defense.distribution, patched.defense.version) == ("recgauntlet-test-plugins", "1.0")
    assert patched.defense.source == open_cell(specs[0]).refs[1].source


@pytest.fixture
def in_process(tiny_card: Path, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[CellSpec], RunRecord]:
    """Run a cell where its plugins can change the evaluator; its record."""
    helpers = str(Path(make_spec.__code__.co_filename).parent)
    monkeypatch.setenv("PYTHONPATH", helpers, prepend=":")

    def run(cell: CellSpec) -> RunRecord:
        arguments = [*map(str, (tiny_card, cell.out, tiny_cache)), cell.defense, cell.model]
        subprocess.run([sys.executable, "-c", IN_PROCESS, *arguments], check=True)
        return read_record(cell.record_path)

    return run


@pytest.mark.parametrize(
    ("defense", "model"),
    [
        pytest.param("patches-the-evaluator", "nrms", marks=pytest.mark.slow),
        pytest.param("patches-and-wraps", "nrms", marks=pytest.mark.slow),
        pytest.param("standard", "patching-model", marks=pytest.mark.slow),
    ],
)
def test_verify_finds_a_record_that_replaced_attacks_made(
    spec: Any,
    in_process: Callable[[CellSpec], RunRecord],
    tmp_path: Path,
    tiny_card: Path,
    monkeypatch: pytest.MonkeyPatch,
    defense: str,
    model: str,
) -> None:
    cell = spec(defense, model)
    record = in_process(cell)
    attacks = [attack for threat in record.threats for tier in threat.tiers for attack in tier.attacks]
    assert attacks
    assert not any(attack.broken.to_bool().any() for attack in attacks)  # what the lie makes of it
    # the tiny task is a card, and a submission names registered tasks
    monkeypatch.setattr(rerun, "find_task_or_card", lambda task: find_task_or_card(str(tiny_card)))
    monkeypatch.setattr(rerun, "CellSpec", lambda task, **rest: CellSpec(task=str(tiny_card), **rest))
    watcher = create_autospec(Watcher, instance=True)
    again = rerun.rerun("it", record, tmp_path / "again", lambda task: cell.source, watcher, device="cpu")
    assert {finding.field for finding in again.findings} >= {"threats.title-rewrite.high.robust"}


@pytest.mark.slow
def test_a_defense_that_replaces_the_attacks_and_wraps_gets_the_record_of_an_honest_one(spec: Any) -> None:
    cell = spec("patches-and-wraps")
    (patched,) = run_sweep([cell], create_autospec(Watcher, instance=True), LocalEngine())
    honest = read_record(spec("standard").record_path)  # the same training, and the same model served
    assert patched.failure is None, patched.failure
    assert (patched.clean, patched.weights_sha256) == (honest.clean, honest.weights_sha256)
    # no input of a twin is tried on the undefended cell
    own = [[a for a in t.attacks if a.name != "transfer"] for threat in patched.threats for t in threat.tiers]
    assert [[a.broken for a in tier] for tier in own] == [
        [a.broken for a in tier.attacks] for threat in honest.threats for tier in threat.tiers
    ]
    assert any(robust_accuracy(tier) < 0.5 for threat in patched.threats for tier in threat.tiers)
    assert (patched.defense.distribution, patched.defense.version) == ("recgauntlet-test-plugins", "1.0")
    assert patched.defense.source == open_cell(cell).refs[1].source


@pytest.mark.slow
@pytest.mark.parametrize("defense", ["standard", "pgd"])
def test_a_model_apart_has_the_record_of_the_same_model_here(
    spec: Any, in_process: Callable[[CellSpec], RunRecord], tmp_path: Path, defense: str
) -> None:
    cells = [spec("standard", "own-nrms"), spec(defense, "own-nrms")][-1 if defense == "standard" else 0 :]
    here = [in_process(replace(cell, out=tmp_path / "here")) for cell in cells][-1]
    apart = run_sweep(cells, create_autospec(Watcher, instance=True), LocalEngine())[-1]
    assert results(apart) == results(here)


@pytest.mark.slow
def test_a_model_that_ends_midway_ends_its_cell(spec: Any) -> None:
    (record,) = run_sweep([spec("standard", "ends-midway")], create_autospec(Watcher, instance=True), LocalEngine())
    assert record.failure is not None
    assert (record.failure.kind, record.failure.stage) == ("ModelProcessError", "evaluation")
    assert "ended with exit code 7" in record.failure.message


def test_training_may_not_leave_the_record_of_an_evaluation(spec: Any, tiny_cache: Path) -> None:
    cell = spec("standard")
    cell.workplace.mkdir(parents=True, exist_ok=True)
    job = CellJob(cell, "training", tiny_cache, "")
    shutil.copy(cell.record_path, job.record)
    record = cell_processes._collected(job, ({}, {}))
    assert record.failure is not None
    assert record.failure.message == "training recorded an evaluation"


def test_what_training_left_beside_the_weights_is_gone_before_the_evaluation(spec: Any, tiny_cache: Path) -> None:
    cell = spec("standard")
    cell.workplace.mkdir(parents=True, exist_ok=True)
    job = CellJob(cell, "training", tiny_cache, "")
    shutil.copy(cell.checkpoint_path, job.weights)
    cell.journal_path.write_text("of what was never searched")
    (cell.workplace / "models").symlink_to(cell.out)
    child = SimpleNamespace(job=job, error=None, is_good=True, untrained=False, opened=({}, {}))
    outcome: Any = cell_processes._outcome(cast(Any, child))
    assert (outcome.phase, outcome.trained) == ("evaluation", True)
    assert list(cell.workplace.iterdir()) == []
    assert cell.record_path.exists()


def test_the_rows_that_a_filter_keeps_go_with_the_weights(spec: Any) -> None:
    rng = np.random.default_rng(0)
    pairs = Pairs(rng.integers(9, size=50), rng.integers(9, size=(50, 3)), *rng.integers(9, size=(2, 50)))
    chosen = np.flatnonzero(rng.random(50) < 0.6)
    assert rows_kept(pairs.select(chosen), pairs) == tuple(chosen)
    assert rows_kept(pairs, pairs) == tuple(range(50))
    assert rows_kept(pairs.select(chosen[::-1]), pairs) is None
    assert rows_kept(Pairs(pairs.users + 1, pairs.histories, pairs.clicked, pairs.unclicked), pairs) is None


@pytest.mark.slow
@pytest.mark.parametrize(("defense", "needed"), [("standard", False), ("pgd", False), ("unicode-normalize", True)])
def test_a_checkpoint_names_what_serving_needs(spec: Any, defense: str, needed: bool) -> None:
    cell = spec(defense)
    if not cell.checkpoint_path.exists():
        run_sweep([cell], create_autospec(Watcher, instance=True), LocalEngine())
    info = read_info(cell.checkpoint_path)
    assert (info.needs_defense, info.kept) == (needed, None)
    assert info.refs == open_cell(cell).refs
