"""Weights of cells by their address: from a results directory, and from a hub that a release's manifest names."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import synthetic_records
import torch
from command_line import Run, run_words
from command_line import call as call
from command_line import run as run
from fake_hub import FakeHub
from fake_hub import hub as hub
from tiny_task import make_spec

import recgauntlet
from recgauntlet.core.errors import DataError, PluginError, RecordError
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.data.prepare import prepare
from recgauntlet.leaderboard.address import locate
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.manifest import MANIFEST, read_manifest
from recgauntlet.records.release import open_manifest
from recgauntlet.runner import weights as weights_module
from recgauntlet.runner.cell import may_reuse, train_and_save
from recgauntlet.runner.plan import plan
from recgauntlet.runner.record import Header, Machine, make_record
from recgauntlet.runner.weights import bring, find_trained, trained_cells, weights_for
from recgauntlet.training.build import open_cell, untrained
from recgauntlet.training.checkpoint import load_weights, read_info, weights_hash

REPOSITORY = "group/weights"
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's upload


@pytest.fixture(scope="module")
def trained(tiny_card: Path, tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results directory with nrms trained plainly and by pgd: their weights, and records with made-up outcomes."""
    out = tmp_path_factory.mktemp("trained")
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    for defense in ("standard", "pgd"):
        opened = open_cell(make_spec(tiny_card, out, tiny_cache, defense))
        machine = Machine.of(opened.spec, opened.model)
        data = prepare(opened.task, opened.spec.track, opened.spec.source)
        model, info = train_and_save(opened, data, machine, opened.spec.checkpoint_path, lambda what, share: None)
        record = make_record(Header.of(opened, machine, info), data, weights=weights_hash(model), info=info)
        made_up = synthetic_records.make_record(pairs=20, impressions=10)
        outcomes = {"clean": made_up.clean, "threats": made_up.threats, "cost": made_up.cost}
        write_record(record.model_copy(update=outcomes), opened.spec.record_path)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    return out


@pytest.fixture
def mine(trained: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(trained, tmp_path / "mine")
    return tmp_path / "mine"


@pytest.fixture
def source(tiny_cache: Path) -> SourceOptions:
    return SourceOptions(directory=None, cache=tiny_cache, offline=True)


@pytest.fixture
def release(run: Run, hub: FakeHub, mine: Path, tmp_path: Path) -> Path:
    """The frozen release of `mine`, whose weights were pushed to the hub; the local ones are gone."""
    said = run("weights", "push", mine, REPOSITORY)
    found = re.search(rf"--weights ({REPOSITORY}@[0-9a-f]{{40}})", said)
    assert found
    root = tmp_path / "results"
    run("release", "freeze", "2027.1", "--results", mine, "--root", root, "--weights", found[1])
    shutil.rmtree(mine)
    return root / "2027.1"


def cell(card: Path, cache: Path, out: Path, defense: str = "pgd") -> CellSpec:
    return make_spec(card, out, cache, defense)


def test_the_model_of_a_row_is_the_one_that_was_trained(mine: Path, tiny_card: Path, source: SourceOptions) -> None:
    model = recgauntlet.load_model(f"{mine}/tiny/nrms/pgd/0", task=str(tiny_card), source=source, device="cpu")
    spec = cell(tiny_card, source.cache, mine)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert weights_hash(model) == read_record(spec.record_path).weights_sha256
    data = recgauntlet.load_data(str(tiny_card), source=source)
    again = untrained(open_cell(spec), data, torch.device("cpu"))
    load_weights(again, spec.checkpoint_path)
    batch = pairs_to_batch(data.test, np.arange(len(data.test)))
    torch.testing.assert_close(score_batch(model, batch), score_batch(again.eval(), batch))


def test_pushed_weights_come_back_by_the_name_of_the_release(
    run: Run, hub: FakeHub, release: Path, tiny_card: Path, source: SourceOptions, tmp_path: Path
) -> None:
    manifest = read_manifest(release / MANIFEST)
    assert manifest.weights is not None
    assert len(manifest.weights.files) == 2
    online = replace(source, offline=False)
    address = f"{release}/tiny/nrms/pgd/0"
    with pytest.raises(DataError, match="is not in the cache, and no connection may be opened"):
        recgauntlet.load_model(address, task=str(tiny_card), source=source)
    said = run("weights", "check", f"{release}", "--offline", code=1)
    assert "2 findings" in said
    run("weights", "pull", f"{release}/tiny/nrms", "--to", tmp_path / "again")
    assert "no findings" in run("weights", "check", f"{release}", "--offline")
    for options in (online, source):
        model = recgauntlet.load_model(address, task=str(tiny_card), source=options, device="cpu")
        assert weights_hash(model) == find_trained(address).record.weights_sha256
    spec = cell(tiny_card, source.cache, tmp_path / "again")
    assert read_info(spec.checkpoint_path).defense == "pgd"
    assert run("release", "verify", "2027.1", "--root", release.parent).endswith("2027.1: no findings\n")


def test_a_pointer_in_place_of_weights_is_named(run: Run, hub: FakeHub, release: Path) -> None:
    manifest = open_manifest(release)
    assert manifest is not None
    assert manifest.weights is not None
    for file in manifest.weights.files:
        hub.instead[file.path] = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    assert "is a pointer of Git LFS instead of weights" in run("weights", "pull", release, code=2)
    assert "2 findings" in run("weights", "check", release, code=1)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Downloaded weights of one test are not there in the next."""
    monkeypatch.setattr("recgauntlet.runner.hub.weights_directory", lambda cache: tmp_path / "hub-cache")


def test_a_run_starts_from_the_weights_of_a_release(
    run: Run, hub: FakeHub, release: Path, tiny_card: Path, source: SourceOptions, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    said = run(*run_words(tiny_card, out, "--defense", "pgd", "--reuse-weights", str(release), "--dry-run"))
    assert f"weights tiny nrms pgd seed 0: {release}/tiny/nrms/pgd/0" in said
    assert not (out / "checkpoints").exists()
    specs = [replace(cell(tiny_card, source.cache, out), reuse_weights=True)]
    rows = trained_cells(locate(str(release)).rows)
    for planned in plan(specs):  # the twin too
        found = weights_for(planned.spec, planned.options, rows)
        assert found is not None
        bring(found, planned.spec)
        assert may_reuse(planned.spec)
        assert read_info(planned.spec.checkpoint_path).commit == found.record.training_commit
        assert weights_for(replace(planned.spec, seed=1), planned.options, rows) is None
        other = ({**(planned.options or ({}, {}))[0], "heads": 3}, (planned.options or ({}, {}))[1])
        assert weights_for(planned.spec, other, rows) is None


@pytest.mark.parametrize(
    ("tail", "problem", "remedy"),
    [
        ("tiny/nrms/pgd", "does not end in a seed", "RELEASE/TASK/MODEL/DEFENSE/SEED"),
        ("tiny/nrms/pgd/7", "has no seed 7", "give one of: 0"),
        ("tiny/nrms/trades/0", "there is no defense 'trades' here", "pgd"),
        ("tiny/nrms/pgd/0", "is of a user's own task", "task=PATH"),
    ],
)
def test_an_address_that_names_no_model_says_what_to_do(mine: Path, tail: str, problem: str, remedy: str) -> None:
    with pytest.raises(RecordError, match=problem) as caught:
        recgauntlet.load_model(f"{mine}/{tail}")
    assert remedy in (caught.value.remedy or "")


def test_weights_that_are_not_those_of_the_record_are_refused(
    mine: Path, tiny_card: Path, source: SourceOptions, run: Run
) -> None:
    spec = cell(tiny_card, source.cache, mine)
    shutil.copy(spec.twin().checkpoint_path, spec.checkpoint_path)
    with pytest.raises(RecordError, match="is not of the record") as caught:
        recgauntlet.load_model(f"{mine}/tiny/nrms/pgd/0", task=str(tiny_card), source=source)
    assert caught.value.field == "weights_sha256"
    assert "1 findings" in run("weights", "check", mine, code=1)
    assert "is not of the record" in run("weights", "push", mine, REPOSITORY, code=2)
    spec.checkpoint_path.write_bytes(b"<html>")
    with pytest.raises(RecordError, match="is an HTML page instead of weights"):
        recgauntlet.load_model(f"{mine}/tiny/nrms/pgd/0", task=str(tiny_card), source=source)
    spec.checkpoint_path.unlink()
    with pytest.raises(RecordError, match="has no weights") as caught:
        recgauntlet.load_model(f"{mine}/tiny/nrms/pgd/0", task=str(tiny_card), source=source)
    assert "recgauntlet run" in (caught.value.remedy or "")


def test_code_of_a_plugin_runs_here_only_with_consent(
    mine: Path, tiny_card: Path, source: SourceOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights_module, "needs_plugins", lambda spec, info: True)
    address = f"{mine}/tiny/nrms/pgd/0"
    with pytest.raises(PluginError, match="needs code of a plugin in this process") as caught:
        recgauntlet.load_model(address, task=str(tiny_card), source=source)
    assert "trust_plugins=True" in (caught.value.remedy or "")
    assert recgauntlet.load_model(address, task=str(tiny_card), source=source, trust_plugins=True)


def test_other_source_code_is_warned_of(mine: Path, tiny_card: Path, source: SourceOptions) -> None:
    path = cell(tiny_card, source.cache, mine).record_path
    record = read_record(path)
    write_record(record.model_copy(update={"model": record.model.model_copy(update={"source": "a" * 64})}), path)
    with pytest.warns(UserWarning, match="other source code"):
        recgauntlet.load_model(f"{mine}/tiny/nrms/pgd/0", task=str(tiny_card), source=source)


def test_a_release_names_a_commit_and_not_a_branch(run: Run, mine: Path, tmp_path: Path) -> None:
    words = ("release", "freeze", "2027.1", "--results", mine, "--root", tmp_path / "results", "--weights")
    for wrong in ("group/weights", "group/weights@main", "weights@" + "a" * 40):
        said = run(*words, wrong, code=2)
        assert "OWNER/NAME@COMMIT" in said
    assert not (tmp_path / "results").exists()
