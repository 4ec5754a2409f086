"""A defense whose code replaces the evaluator: its cell is evaluated without it, and a record that it made is found."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import numpy as np
import pytest
from tiny_task import make_spec

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.spec import CellSpec
from recgauntlet.records.io import read_record
from recgauntlet.records.schema import RunRecord, robust_accuracy
from recgauntlet.runner.processes import Watcher
from recgauntlet.runner.submission import rerun
from recgauntlet.runner.sweep import run_sweep
from recgauntlet.training.build import open_cell, rows_kept
from recgauntlet.training.checkpoint import read_info

pytestmark = pytest.mark.timeout(300)
OF_THE_RUN = {"defense", "started", "finished", "digest", "cost", "environment"}
IN_PROCESS = """
import sys
from pathlib import Path
from tiny_task import make_spec
from recgauntlet.runner.cell import run_cell
assert run_cell(make_spec(*map(Path, sys.argv[1:4]), sys.argv[4])).failure is None
"""


@pytest.fixture
def spec(tiny_card: Path, tiny_cache: Path, finished_cells: Path, tmp_path: Path, test_plugins: Path) -> Any:
    out = tmp_path / "out"
    shutil.copytree(finished_cells, out)
    _restart_the_fork_server()
    yield lambda defense: make_spec(tiny_card, out, tiny_cache, defense)
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


def test_a_defense_that_replaces_the_attacks_gets_the_record_of_an_honest_one(spec: Any) -> None:
    specs = [spec("patches-the-evaluator"), spec("writes-inside")]  # both train plainly
    patched, honest = run_sweep(specs, create_autospec(Watcher, instance=True), workers=1)
    assert results(patched) == results(honest)
    assert any(robust_accuracy(tier) < 0.5 for threat in honest.threats for tier in threat.tiers)
    assert patched.defense.summary.startswith("Defenses whose module replaces")  # from the process that trained
    assert (patched.defense.distribution, patched.defense.version) == ("recgauntlet-test-plugins", "1.0")
    assert patched.defense.source == open_cell(specs[0]).refs[1].source


def test_verify_finds_a_record_that_replaced_attacks_made(
    spec: Any, tmp_path: Path, tiny_card: Path, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = spec("patches-the-evaluator")
    command = [sys.executable, "-c", IN_PROCESS, *map(str, (tiny_card, cell.out, tiny_cache, cell.defense))]
    helpers = str(Path(make_spec.__code__.co_filename).parent)
    monkeypatch.setenv("PYTHONPATH", helpers, prepend=":")
    subprocess.run(command, check=True)
    record = read_record(cell.record_path)
    attacks = [attack for threat in record.threats for tier in threat.tiers for attack in tier.attacks]
    assert attacks
    assert not any(attack.broken.to_bool().any() for attack in attacks)  # what the lie makes of it
    # the tiny task is a card, and a submission names registered tasks
    monkeypatch.setattr(rerun, "CellSpec", lambda task, **rest: CellSpec(task=str(tiny_card), **rest))
    watcher = create_autospec(Watcher, instance=True)
    again = rerun.rerun("it", record, tmp_path / "again", lambda task: cell.source, watcher, device="cpu")
    assert {finding.field for finding in again.findings} >= {"threats.title-rewrite.high.robust"}


def test_the_rows_that_a_filter_keeps_go_with_the_weights(spec: Any) -> None:
    rng = np.random.default_rng(0)
    pairs = Pairs(rng.integers(9, size=50), rng.integers(9, size=(50, 3)), *rng.integers(9, size=(2, 50)))
    chosen = np.flatnonzero(rng.random(50) < 0.6)
    assert rows_kept(pairs.select(chosen), pairs) == tuple(chosen)
    assert rows_kept(pairs, pairs) == tuple(range(50))
    assert rows_kept(pairs.select(chosen[::-1]), pairs) is None
    assert rows_kept(Pairs(pairs.users + 1, pairs.histories, pairs.clicked, pairs.unclicked), pairs) is None


@pytest.mark.parametrize(("defense", "needed"), [("standard", False), ("pgd", False), ("unicode-normalize", True)])
def test_a_checkpoint_names_what_serving_needs(spec: Any, defense: str, needed: bool) -> None:
    cell = spec(defense)
    if not cell.checkpoint_path.exists():
        run_sweep([cell], create_autospec(Watcher, instance=True), workers=1)
    info = read_info(cell.checkpoint_path)
    assert (info.needs_defense, info.kept) == (needed, None)
    assert info.refs == open_cell(cell).refs
