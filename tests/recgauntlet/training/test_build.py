"""Training on poisoned data: the genuine parts are those of the clean cell, or nothing is trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import poison_task
import pytest
import torch
from tiny_task import make_spec

from recgauntlet.core.poison import FakeAccounts
from recgauntlet.data import poisoned
from recgauntlet.data.cache import content_hash
from recgauntlet.data.prepare import prepare
from recgauntlet.training import build
from recgauntlet.training.build import belongs, open_cell, open_trained, poisoned_data, train_cell
from recgauntlet.training.checkpoint import read_info, weights_hash
from recgauntlet.training.defense import UnloadedDefense
from recgauntlet.training.tuned import Tuned, TunedTrial, write_tuned


def test_training_without_accounts_gives_the_clean_weights_and_with_accounts_others(tmp_path: Path) -> None:
    store, data = poison_task.make_store(tmp_path)
    spec = make_spec(tmp_path / "tiny.toml", tmp_path / "out", store.cache)
    cell = open_cell(replace(spec, model="bpr-mf", model_options=(("size", 4),)))
    hashes = []
    for accounts in (None, FakeAccounts.none(), store.tables(poison_task.RandomProfiles())["high"].accounts):
        made = data if accounts is None else poisoned_data(cell, data, store.genuine, accounts).data
        model, _ = train_cell(cell, made, torch.device("cpu"), "fp32", lambda what, share: None)
        hashes.append(weights_hash(model))
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_change_of_genuine_rows_stops_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, data = poison_task.make_store(tmp_path)
    cell = open_cell(make_spec(tmp_path / "tiny.toml", tmp_path / "out", store.cache))

    def losing(*args: object) -> poisoned.PoisonedData:
        made = poisoned.with_poison(*args)  # type: ignore[arg-type]
        return replace(made, data=replace(made.data, train=made.data.train.select(slice(1, None))))

    monkeypatch.setattr(build, "with_poison", losing)
    with pytest.raises(RuntimeError, match="genuine training pairs changed"):
        poisoned_data(cell, data, store.genuine, FakeAccounts.none())


def test_validation_and_test_are_the_genuine_ones(tmp_path: Path) -> None:
    store, data = poison_task.make_store(tmp_path)
    cell = open_cell(make_spec(tmp_path / "tiny.toml", tmp_path / "out", store.cache))
    made = poisoned_data(cell, data, store.genuine, store.tables(poison_task.RandomProfiles())["high"].accounts)
    assert content_hash(data) != content_hash(made.data)
    assert np.array_equal(made.data.valid.clicked, data.valid.clicked)
    assert np.array_equal(made.data.test.users, made.genuine[data.test.users])


@pytest.mark.parametrize(("more", "same"), [(0.0, True), (0.5, False)], ids=["shipped", "tuned since"])
def test_weights_of_other_tuned_values_are_not_the_cell_s(
    more: float, same: bool, tiny_card: Path, tiny_cache: Path, finished_cells: Path, tmp_path: Path
) -> None:
    spec = make_spec(tiny_card, finished_cells, tiny_cache, "pgd")
    info = read_info(spec.checkpoint_path)
    values = {"epsilon": info.defense_options["epsilon"] + more}
    tuned = Tuned(
        kind="defense",
        name="pgd",
        task=spec.task_id,
        track="standard",
        model="nrms",
        values=values,
        objective=0.5,
        trial=0,
        seed=0,
        epochs=1,
        pairs=1,
        date="2026-12-01",
        commit="abc",
        trials=(TunedTrial(values=values, objective=0.5),),
    )
    write_tuned(tmp_path / "tuned.toml", [tuned])
    asked = replace(spec, tuned=tmp_path / "tuned.toml", reuse_weights=True)
    cell = open_trained(asked, open_cell(spec).task)
    assert isinstance(cell.defense_object, UnloadedDefense), "or its own options would tell"
    assert belongs(info, cell, prepare(cell.task, spec.track, spec.source)) == same
