"""Periodic retraining: goes on from the old weights, is tested on what neither has seen, and says what got worse."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from synthetic_records import failed_gate
from tiny_task import make_spec

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.errors import DataError, PluginError, RecordError
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.prepare import prepare
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.metrics.ranking import accuracy
from recgauntlet.records.schema import robust_accuracy
from recgauntlet.runner.cell import train_and_save
from recgauntlet.runner.record import Machine
from recgauntlet.runner.retraining import CLEAN, Change, Retraining, newly_failed, retrain
from recgauntlet.runner.trained import Setup, attack_checkpoint, load_cell
from recgauntlet.training.build import open_cell
from recgauntlet.training.checkpoint import read_info

UNTIL = "2020-12-25"
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def setup(tiny_card: Path, tiny_cache: Path) -> Setup:
    spec = make_spec(tiny_card, Path(), tiny_cache)
    return Setup(lambda task: spec.source, str(tiny_card), "cpu")


@pytest.fixture(scope="module")
def old(tiny_card: Path, tiny_cache: Path, finished_cells: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    return Path(
        shutil.copy(make_spec(tiny_card, finished_cells, tiny_cache, "pgd").checkpoint_path, folder / "old.safetensors")
    )


@pytest.fixture(scope="module")
def found(old: Path, setup: Setup) -> Retraining:
    return retrain(old, setup, UNTIL, epochs=2)


def test_the_comparison_is_that_of_the_two_checkpoints(
    found: Retraining, old: Path, setup: Setup, tmp_path: Path
) -> None:
    """What stands in the table is what `attack` finds for the new weights on the window's test period."""
    new = tmp_path / "new.safetensors"
    found.save(new)
    record = attack_checkpoint(new, setup)
    (clean,) = (change for change in found.changes if change.threat == CLEAN)
    assert record.clean is not None
    assert record.cost is not None
    assert record.cost.flops == found.info.flops
    assert record.epochs == found.info.epochs
    assert accuracy(record.clean.labels.to_bool(), record.clean.scores.to_float()) == pytest.approx(clean.after)
    for change in found.changes:
        if change.threat != CLEAN:
            tier = record.tier(change.threat, RANKING_TIER)
            assert tier is not None
            assert robust_accuracy(tier) <= change.after + 1e-9  # the low tier's attacks come on top there
            assert change.difference.value == pytest.approx(change.after - change.before)
            assert change.difference.low <= change.difference.value <= change.difference.high


def test_training_goes_on_from_the_old_weights(found: Retraining, old: Path) -> None:
    before, after = load_file(old), found.model.state_dict()
    moved = {name: float((before[name] - after[name].cpu()).norm() / (before[name].norm() + 1e-9)) for name in before}
    assert max(moved.values()) > 0
    assert np.median(list(moved.values())) < 0.5, (
        "new weights that were drawn anew would be as far away as the old are long"
    )


def test_new_weights_know_their_window_and_the_next_goes_on_from_it(old: Path, setup: Setup, tmp_path: Path) -> None:
    first, new = retrain(old, setup, "2020-12-14", epochs=1), tmp_path / "new.safetensors"
    first.save(new)
    info = read_info(new)
    assert info.window == first.window
    assert info.task_fingerprint != find_task_or_card(str(setup.task)).card.fingerprint("standard")
    assert len(load_cell(new, setup).data.test) == first.window.test_pairs
    assert retrain(new, setup, UNTIL, epochs=1).window.begin == first.window.until
    with pytest.raises(DataError, match="is not between the end of the training so far"):
        retrain(new, setup, "2020-12-14")


def test_the_same_call_gives_the_same_weights(found: Retraining, old: Path, setup: Setup) -> None:
    again = retrain(old, setup, UNTIL, epochs=2)
    assert again.changes == found.changes
    for name, value in found.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


def change(threat: str, value: float, *, ranked: bool = True) -> Change:
    return Change(threat, ranked, 0.5, 0.5 + value, Estimate(value, value, value), 0.5)


def test_a_check_that_fails_under_another_threat_has_failed_newly() -> None:
    old, new = (failed_gate().model_copy(update={"threat": threat}) for threat in ("embedding", "history"))
    whole = old.model_copy(update={"threat": ""})
    assert newly_failed([old], [old]) == ()
    assert newly_failed([old], [old, new, whole]) == (old.name, f"{old.name} under history")


def test_old_weights_stay_where_a_ranked_threat_loses_too_much_or_a_check_fails_newly(found: Retraining) -> None:
    fine = replace(
        found, changes=(change(CLEAN, -0.3, ranked=False), change("a", -0.02), change("b", 0.1)), newly_failed=()
    )
    assert fine.worse(0.02) == ()
    assert fine.worse(0.019) == ("under a 2.0 points are lost",)
    assert replace(fine, changes=(change("a", -0.5, ranked=False),)).worse(0.0) == ()
    assert replace(fine, newly_failed=("not-constant",)).worse(1.0) == (
        "the check not-constant fails, and did not before",
    )


def test_weights_of_other_data_are_refused(old: Path, setup: Setup, tmp_path: Path, tiny_card: Path) -> None:
    folder = tmp_path / "other"
    shutil.copytree(tiny_card.parent, folder)
    table = folder / "interactions.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(RecordError, match="other data"):
        retrain(old, replace(setup, task=str(folder / tiny_card.name)), UNTIL)


@pytest.mark.parametrize("model", ["item-knn", "lightgcn"])
def test_a_model_that_counts_all_training_data_has_nothing_to_go_on_with(
    setup: Setup, tiny_card: Path, tiny_cache: Path, tmp_path: Path, model: str
) -> None:
    """Made of the window alone, its neighbors or its graph would forget everything before."""
    spec = replace(make_spec(tiny_card, tmp_path, tiny_cache), model=model, model_options=())
    cell = open_cell(spec)
    data = prepare(cell.task, "standard", spec.source)
    machine = Machine.of(spec, cell.model)
    train_and_save(cell, data, machine, spec.checkpoint_path, lambda what, share: None)
    with pytest.raises(PluginError, match=f"{model} is made of what it counts"):
        retrain(spec.checkpoint_path, setup, UNTIL)
