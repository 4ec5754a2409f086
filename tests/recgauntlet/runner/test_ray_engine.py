"""Cells on a Ray cluster of two nodes, each a set of processes of its own."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import create_autospec

import pytest
from tiny_task import make_spec

from recgauntlet.core.errors import DeviceError
from recgauntlet.core.spec import CellSpec
from recgauntlet.records.columns import BitColumn
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.io import read_record
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.processes import Watcher
from recgauntlet.runner.ray_engine import RayEngine, run_on_node
from recgauntlet.runner.sweep import run_sweep


class Nodes(NamedTuple):
    """A cluster, and the directory in which its nodes work."""

    cluster: Any
    place: Path


@pytest.fixture
def nodes(tmp_path: Path, tiny_cache: Path, test_plugins: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """A cluster whose head runs no cells; its other nodes see the test plugins."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("TEST_GATE", str(tmp_path / "gate"))
    monkeypatch.setenv("RECGAUNTLET_CACHE", str(tiny_cache))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with tempfile.TemporaryDirectory(dir="/tmp") as place:  # short: paths of sockets may have 107 characters
        monkeypatch.setenv("TMPDIR", place)
        monkeypatch.setenv("RAY_TMPDIR", place)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        yield Nodes(cluster, Path(place))
        cluster.shutdown()


@pytest.fixture
def spec(tiny_card: Path, tiny_cache: Path, tmp_path: Path) -> Callable[..., CellSpec]:
    return lambda defense="standard": make_spec(tiny_card, tmp_path / "out", tiny_cache, defense)


def waiting(place: Path, without: set[Path]) -> Path:
    """Where a cell waits for its gate that does not wait in one of `without`."""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        found = {path for path in place.glob("recgauntlet-*/**/waiting.pid") if path not in without}
        if found:
            return found.pop()
        time.sleep(0.1)
    raise AssertionError("no cell came to its gate in time")


def robust(record: RunRecord) -> list[tuple[str, str, BitColumn]]:
    return [(threat.id, tier.tier, tier.robust) for threat in record.threats for tier in threat.tiers]


@pytest.mark.slow
def test_a_lost_node_costs_the_cell_in_flight_alone(
    nodes: Nodes, spec: Any, tmp_path: Path, finished_cells: Path
) -> None:
    first = nodes.cluster.add_node(num_cpus=1)
    engine = RayEngine(nodes.cluster.address)
    watcher = create_autospec(Watcher, instance=True)
    with ThreadPoolExecutor(1) as thread:
        sweep = thread.submit(run_sweep, [spec("waits"), spec()], watcher, engine)
        lost = waiting(nodes.place, set())
        twin = spec().record_path.read_bytes()
        nodes.cluster.add_node(num_cpus=1)
        nodes.cluster.remove_node(first, allow_graceful=False)
        waiting(nodes.place, {lost})
        (tmp_path / "gate").write_text("open")
        records = sweep.result()
    assert engine.capacity == 1
    assert [(record.defense.name, record.status) for record in records] == [("standard", "ok"), ("waits", "ok")]
    assert spec().record_path.read_bytes() == twin
    here = read_record(finished_cells / spec().record_path.relative_to(tmp_path / "out"))
    assert records[0].clean == here.clean
    assert robust(records[0]) == robust(here)
    assert records[1].cost is not None
    assert records[1].cost.flops_ratio is not None  # the twin's weights were there
    assert spec("waits").checkpoint_path.is_file()
    assert [call.args[0] for call in watcher.finished.call_args_list] == [spec().title, spec("waits").title]


class FakeRay:
    """A cluster that runs a task at once, and gives what `node` makes of it."""

    class exceptions:  # noqa: N801  as in Ray
        RayError = RuntimeError

    def __init__(self, node: Callable[..., dict[str, bytes]]) -> None:
        self.node = node

    def init(self, **_: object) -> None: ...

    def shutdown(self) -> None: ...

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 3.0}

    def remote(self, function: object) -> FakeRay:
        assert function is run_on_node
        return self

    def options(self, **needs: object) -> Any:
        assert (needs["num_cpus"], needs["num_gpus"]) == (1, 0)
        return SimpleNamespace(remote=lambda *arguments: partial(self.node, *arguments))

    def get(self, reference: Callable[[], dict[str, bytes]]) -> dict[str, bytes]:
        return reference()


def sweep_with(node: Callable[..., dict[str, bytes]], spec: CellSpec, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("recgauntlet.runner.ray_engine._installed_ray", lambda: FakeRay(node))
    (record,) = run_sweep([spec], create_autospec(Watcher, instance=True), RayEngine())
    assert read_record(spec.record_path).status == record.status
    return record


def test_what_a_cell_needs_goes_with_it_and_comes_back(
    spec: Any, tmp_path: Path, finished_cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(finished_cells, tmp_path / "out")
    record, weights = spec("pgd").record_path.read_bytes(), b"weights"
    spec("pgd").record_path.unlink()
    name = spec("pgd").record_path.relative_to(tmp_path / "out").as_posix()
    needs: set[str] = set()

    def node(sent: CellSpec, files: dict[str, bytes], *_: object) -> dict[str, bytes]:
        needs.update(files)
        return {name: record, sent.checkpoint_path.relative_to(sent.out).as_posix(): weights, "../elsewhere": b""}

    assert to_bytes(sweep_with(node, spec("pgd"), monkeypatch)) == record
    twin = (spec().record_path, spec().checkpoint_path, spec("pgd").checkpoint_path)
    assert needs == {path.relative_to(tmp_path / "out").as_posix() for path in twin}
    assert spec("pgd").checkpoint_path.read_bytes() == weights
    assert not (tmp_path / "elsewhere").exists()


def test_a_cell_that_a_cluster_gives_up_is_recorded_as_failed(spec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def node(*_: object) -> dict[str, bytes]:
        raise RuntimeError("the node died four times")

    record = sweep_with(node, spec(), monkeypatch)
    assert (record.status, record.failure.kind, record.failure.stage) == ("failed", "RuntimeError", "process")
    assert record.failure.message == "the node died four times"


def test_a_cell_that_is_stopped_is_not_recorded_as_failed(spec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waits, cancelled = Event(), Event()

    def node(*_: object) -> dict[str, bytes]:
        waits.set()
        assert cancelled.wait(60)
        raise RuntimeError("cancelled")

    ray: Any = FakeRay(node)
    ray.cancel = lambda reference, force: cancelled.set()
    monkeypatch.setattr("recgauntlet.runner.ray_engine._installed_ray", lambda: ray)
    with contextlib.suppress(KeyboardInterrupt), RayEngine() as engine:
        engine.submit(spec(), create_autospec(Watcher, instance=True))
        assert waits.wait(60)
        raise KeyboardInterrupt
    assert cancelled.is_set()
    assert not spec().record_path.exists()


def test_a_record_of_another_cell_is_not_kept(
    spec: Any, tmp_path: Path, finished_cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = (finished_cells / spec("pgd").record_path.relative_to(tmp_path / "out")).read_bytes()
    name = spec().record_path.relative_to(tmp_path / "out").as_posix()
    record = sweep_with(lambda *_: {name: other}, spec(), monkeypatch)
    assert record.status == "failed"
    assert "another cell" in record.failure.message


def test_a_machine_without_ray_says_what_to_install(spec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(DeviceError, match="not installed") as caught:
        run_sweep([spec()], create_autospec(Watcher, instance=True), RayEngine())
    assert "pip install 'recgauntlet[ray]'" in caught.value.remedy


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1:port"])
def test_a_cluster_that_is_not_there_is_named_at_once(address: str, spec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recgauntlet.runner.ray_engine._installed_ray", lambda: FakeRay(dict))
    with pytest.raises(DeviceError, match="does not answer") as caught:
        run_sweep([spec()], create_autospec(Watcher, instance=True), RayEngine(address))
    assert caught.value.field == "--address"
