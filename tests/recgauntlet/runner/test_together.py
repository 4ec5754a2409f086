"""Cells whose training is shared by several processes, behind their fence."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path

import pytest
from tiny_task import make_spec

from recgauntlet.core.errors import DeviceError, PluginError
from recgauntlet.core.spec import CellSpec
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.cell import check_spec, run_cell
from recgauntlet.runner.engine import LocalEngine
from recgauntlet.runner.sweep import run_sweep
from recgauntlet.training.checkpoint import hash_of_file, read_info

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot copy a process")


class Silent:
    def started(self, name: str) -> None: ...

    def progress(self, name: str, what: str, share: float) -> None: ...

    def finished(self, name: str, result: str, failure: str) -> None: ...


@pytest.fixture
def spec(tiny_card: Path, tiny_cache: Path, tmp_path: Path) -> CellSpec:
    return replace(make_spec(tiny_card, tmp_path / "out", tiny_cache), devices=2)


def run(spec: CellSpec) -> RunRecord:
    (record,) = run_sweep([spec], Silent(), LocalEngine())
    return record


def test_two_processes_train_a_cell_and_its_record_says_so(spec: CellSpec) -> None:
    record = run(spec)
    assert record.failure is None, record.failure
    assert record.cost is not None
    assert record.cost.devices == 2
    info = read_info(spec.checkpoint_path)
    assert (info.devices, info.epochs) == (2, record.epochs)
    assert info.processor.endswith("2 devices"), "seconds are not compared with those of one"
    assert hash_of_file(spec.checkpoint_path) == record.weights_sha256
    assert {epoch.kept for epoch in record.epochs} >= {True}
    assert not spec.workplace.exists()


@pytest.fixture
def stranger(test_plugins: Path) -> Iterator[None]:
    """Cells find the test plugins: the fork server keeps the environment that it was started in."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def test_a_fault_in_another_process_is_the_cells_fault(spec: CellSpec, stranger: None) -> None:
    for defense in ("raises-beside", "raises-in-training"):
        record = run(replace(spec, defense=defense))
        assert record.failure is not None
        assert "the plugin divided by zero" in record.failure.message


def test_what_cannot_be_trained_so_is_refused_before_anything_runs(spec: CellSpec) -> None:
    check_spec(spec)
    for strange in (replace(spec, model="bpr-mf", model_options=()), replace(spec, defense="ensemble")):
        with pytest.raises(PluginError, match="on one device alone") as error:
            check_spec(strange)
        assert error.value.field == "--devices"
    with pytest.raises(DeviceError, match="trains alone"):
        run_cell(spec)
