"""Processes of models: started from weights, ended with what started them, and without the plugin in this one."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from safetensors.torch import load_file, save
from tiny_task import make_spec

from recgauntlet.core.errors import ModelProcessError
from recgauntlet.core.files import write_atomically
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.spec import CellSpec
from recgauntlet.data import prepare
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.evaluation.judge import fresh_copy
from recgauntlet.runner.record import Machine
from recgauntlet.runner.remote.cell import RemoteModels, is_remote, open_remote
from recgauntlet.runner.remote.host import Host, HostJob
from recgauntlet.runner.trained import Setup, host_of, load_cell
from recgauntlet.training.build import OpenCell
from recgauntlet.training.checkpoint import read_info

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def spec(tiny_card: Path, tiny_cache: Path, finished_cells: Path, tmp_path: Path, test_plugins: Path) -> CellSpec:
    """An undefended cell of a plugin's model, trained as the baseline's was."""
    out = tmp_path / "out"
    shutil.copytree(finished_cells, out)
    spec = replace(make_spec(tiny_card, out, tiny_cache), model="own-nrms")
    old = make_spec(tiny_card, out, tiny_cache).checkpoint_path
    info = read_info(old).model_copy(update={"model": "own-nrms"})
    write_atomically(spec.checkpoint_path, save(load_file(old), metadata={"recgauntlet": info.model_dump_json()}))
    sys.modules.pop("recgauntlet_test_offenders", None)
    return replace(spec, reuse_weights=True)  # its source is not that of the baseline


@pytest.fixture
def host(spec: CellSpec) -> Iterator[Host]:
    def refused(what: str) -> None:
        raise AssertionError(what)

    ready = prepare.ready(find_task_or_card(spec.task), spec.track, spec.source)
    host = Host(HostJob(spec, ready), refused, forks=False)  # this process has threads
    yield host
    host.close()
    host._process.join()


def models_of(host: Host) -> set[int]:
    """The ids of the processes that it has forked, below the one that watches it.

    What a model starts for a moment is none of them, and when each began is no guide: the clock may be set meanwhile.
    """
    parents = {process.pid: process.info["ppid"] for process in psutil.process_iter(["ppid"])}
    return {pid for pid, parent in parents.items() if parents.get(parent) == host._process.pid}


def opened(spec: CellSpec, host: Host) -> tuple[OpenCell, RemoteModels]:
    return open_remote(spec, find_task_or_card(spec.task), host)


def test_a_plugin_s_model_scores_apart_as_here_and_is_never_imported(spec: CellSpec, host: Host) -> None:
    assert is_remote(spec)
    assert not is_remote(replace(spec, model="nrms"))
    cell, models = opened(spec, host)
    data = prepare.prepare(cell.task, spec.track, spec.source)
    machine = Machine.of(spec, cell.model)
    assert models.saved(cell, data, machine) is not None
    served = models.served(cell, data, machine)
    batch = pairs_to_batch(data.test, np.arange(len(data.test)))
    scores = score_batch(served, batch)
    assert torch.equal(score_batch(fresh_copy(served), batch), scores)
    assert cell.refs[0].distribution == "recgauntlet-test-plugins"
    assert "recgauntlet_test_offenders" not in sys.modules
    here = load_cell(spec.checkpoint_path, Setup(lambda task: spec.source, spec.task, "cpu"))
    assert torch.equal(score_batch(here.served.eval(), batch), scores)
    assert here.weights == models.weights()
    # the processes end with their connections and with the host
    below = psutil.Process(host._process.pid).children(recursive=True)
    assert len(below) >= 2
    host.close()
    host._process.join()
    _, alive = psutil.wait_procs(below, timeout=20)
    assert not alive
    with pytest.raises(ModelProcessError, match="ended"):
        score_batch(served, batch)


def test_a_checkpoint_by_itself_is_served_apart_too(spec: CellSpec) -> None:
    setup = Setup(lambda task: spec.source, spec.task, "cpu")
    with host_of(spec.checkpoint_path, setup) as host:
        loaded = load_cell(spec.checkpoint_path, setup, host=host)
        batch = pairs_to_batch(loaded.data.test, np.arange(4))
        assert torch.isfinite(score_batch(loaded.served, batch)).all()
        assert "recgauntlet_test_offenders" not in sys.modules
    with host_of(replace(spec, model="nrms").checkpoint_path, setup) as host:
        assert host is None


def test_a_process_that_is_killed_is_an_error_that_says_so(spec: CellSpec, host: Host) -> None:
    cell, _ = opened(spec, host)
    before = models_of(host)
    client, _ = host.open("cell", spec.checkpoint_path)
    (new,) = models_of(host) - before
    os.kill(new, 9)
    with pytest.raises(ModelProcessError, match="killed by signal 9"):
        client.ask("open")
    assert cell.spec == spec
