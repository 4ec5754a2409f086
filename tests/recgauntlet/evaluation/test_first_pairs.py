"""Cells that are attacked on their first test pairs alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_task import make_spec

from recgauntlet.core.dataset import AdLists, TaskData
from recgauntlet.core.errors import CardError, RecordError
from recgauntlet.core.protocol import RANKED_IMPRESSIONS
from recgauntlet.core.spec import CellSpec
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.prepare import prepare
from recgauntlet.evaluation.first_pairs import first_pairs
from recgauntlet.records.comparability import EvaluationSetting
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.validate import check_record
from recgauntlet.runner.cell import check_spec, run_cell
from recgauntlet.runner.plan import plan

Make = Callable[..., CellSpec]
PAIRS, ALL = 8, 20


@pytest.fixture(scope="module")
def make(
    tiny_card: Path, tiny_cache: Path, finished_cells: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Make]:
    """Makes specs of the first pairs into a directory with the weights of finished cells, and without records."""
    out = tmp_path_factory.mktemp("first-pairs")
    shutil.copytree(finished_cells / "checkpoints", out / "checkpoints")
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield lambda defense="standard", pairs=PAIRS: replace(
        make_spec(tiny_card, out, tiny_cache, defense), test_pairs=pairs, reuse_weights=True
    )
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="module")
def found(make: Make) -> RunRecord:
    """The record of the first pairs, which lies at the place of `make()`."""
    record = run_cell(make())
    assert record.failure is None, record.failure
    return record


@pytest.fixture
def whole(finished_cells: Path, tiny_card: Path, tiny_cache: Path) -> RunRecord:
    """The record of the same cell on all test pairs."""
    return read_record(make_spec(tiny_card, finished_cells, tiny_cache).record_path)


def test_the_first_pairs_have_the_outcomes_that_they_have_among_all(found: RunRecord, whole: RunRecord) -> None:
    assert found.first_pairs is not None
    assert (found.first_pairs.pairs, found.first_pairs.all_pairs) == (PAIRS, ALL)
    assert found.clean is not None
    assert whole.clean is not None
    assert found.clean.labels.n == 2 * PAIRS
    assert len(found.clean.impression_sizes) == 10  # fewer than rankings need: all of them
    np.testing.assert_array_equal(found.clean.scores.to_float(), whole.clean.scores.to_float()[: 2 * PAIRS])
    searched = [threat.id for threat in found.threats if threat.tiers]
    assert len(searched) == 3
    robust = 0
    for threat in searched:
        for tier in ("low", "standard", "high"):
            first, everything = found.tier(threat, tier), whole.tier(threat, tier)
            assert first is not None
            assert everything is not None
            np.testing.assert_array_equal(first.robust.to_bool(), everything.robust.to_bool()[: 2 * PAIRS])
            robust += int(first.robust.to_bool().sum())
    assert robust
    assert EvaluationSetting.of(found) == EvaluationSetting.of(whole)
    assert found.weights_sha256 == whole.weights_sha256


def test_a_cell_that_fails_says_so_too(make: Make, tmp_path: Path) -> None:
    record = run_cell(
        replace(
            make(), out=tmp_path, source=replace(make().source, cache=tmp_path / "empty", directory=tmp_path / "none")
        )
    )
    assert record.failure is not None
    assert record.first_pairs is not None
    assert (record.first_pairs.pairs, record.first_pairs.examples) == (PAIRS, "")


def test_impressions_are_taken_in_proportion_and_enough_for_rankings(tiny_card: Path, make: Make) -> None:
    data = prepare(find_task_or_card(str(tiny_card)), "standard", make().source)
    many = _with_impressions(data, 400)
    assert first_pairs(many, None) is many
    assert first_pairs(many, ALL) is many
    assert len(first_pairs(many, 1).impressions) == RANKED_IMPRESSIONS
    half = first_pairs(many, 11)
    assert (len(half.test), len(half.impressions)) == (11, 220)
    assert len(half.impressions.items) == half.impressions.offsets[-1] == len(half.impressions.labels)
    popular = first_pairs(replace(many, popular_impressions=many.impressions), 11).popular_impressions
    assert half.popular_impressions is None
    assert popular is not None
    assert (len(popular), len(popular.items)) == (220, popular.offsets[-1])
    lists = AdLists(np.arange(9), np.zeros((9, 3), int), np.zeros((2, 9, 4), int), np.zeros((2, 9, 4), bool))
    cut = first_pairs(replace(many, test_ads=lists), 10).test_ads
    assert cut is not None
    assert (len(cut), cut.items.shape, cut.taken.shape, cut.histories.shape) == (5, (2, 5, 4), (2, 5, 4), (5, 3))


def _with_impressions(data: TaskData, count: int) -> TaskData:
    one = data.impressions
    size = int(one.offsets[1])
    return replace(
        data,
        impressions=replace(
            one,
            users=np.repeat(one.users[:1], count),
            histories=np.repeat(one.histories[:1], count, axis=0),
            items=np.tile(one.items[:size], count),
            labels=np.tile(one.labels[:size], count),
            offsets=np.arange(count + 1) * size,
        ),
    )


@pytest.mark.parametrize("pairs", [0, ALL + 1])
def test_a_number_that_the_task_does_not_have_is_refused(make: Make, pairs: int) -> None:
    with pytest.raises(CardError, match=f"has {ALL} test pairs, {pairs} are asked for") as caught:
        check_spec(make(pairs=pairs))
    assert caught.value.field == "--test-pairs"


def test_a_twin_with_all_pairs_serves_a_cell_of_the_first_ones(make: Make, whole: RunRecord) -> None:
    spec = make("pgd")
    _put(whole, spec.twin())
    twin, cell = plan([spec])
    assert (twin.state, cell.state) == ("done", "new")


@pytest.mark.slow
def test_a_record_of_too_few_pairs_is_kept_and_named(make: Make, found: RunRecord) -> None:
    _put(found, make())
    assert plan([make(pairs=PAIRS)])[0].state == "done"
    assert plan([make(pairs=PAIRS - 1)])[0].state == "done"
    for pairs in (PAIRS + 1, None):
        with pytest.raises(RecordError, match=f"attacked on its first {PAIRS} test pairs") as caught:
            plan([make(pairs=pairs)])
        assert f"--test-pairs {PAIRS}" in (caught.value.remedy or "")
    assert plan([make(pairs=None)], overwrite=True)[0].state == "new"


@pytest.mark.parametrize("change", [{"pairs": PAIRS + 1}, {"examples": ""}, {"all_pairs": PAIRS}])
def test_a_record_that_contradicts_its_first_pairs_is_refused(found: RunRecord, change: dict[str, object]) -> None:
    assert found.first_pairs is not None
    wrong = found.model_copy(update={"first_pairs": found.first_pairs.model_copy(update=change)})
    with pytest.raises(RecordError, match="first_pairs"):
        check_record(wrong)
    check_record(found)


def _put(record: RunRecord, spec: CellSpec) -> None:
    write_record(record, spec.record_path)
