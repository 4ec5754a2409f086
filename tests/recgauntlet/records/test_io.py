"""Reading a directory: broken records are told and hide nothing, and records that contradict themselves are
broken."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.core.task import find_task
from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.io import read_record, read_records, write_record
from recgauntlet.records.schema import Clean, Epoch, RunRecord
from recgauntlet.records.validate import check_record

Change = Callable[[RunRecord], RunRecord]


def test_records_are_read_in_order_of_path_and_broken_ones_told(tmp_path: Path) -> None:
    write_record(make_record(seed=1), tmp_path / "b" / "one.json")
    write_record(make_record(seed=0), tmp_path / "a" / "zero.json")
    (tmp_path / "a" / "cut.json").write_text('{"schema_version": 1, "status"')
    (tmp_path / "readme.txt").write_text("not a record")
    found = read_records(tmp_path)
    assert [record.seed for _, record in found.records] == [0, 1]
    assert ([record.seed for record in found], len(found)) == ([0, 1], 2)
    assert [path.name for path, _ in found.broken] == ["cut.json"]
    assert "not complete JSON" in str(found.broken[0][1])


def test_a_compressed_record_is_written_and_read_like_any_other(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path / "one.json")
    write_record(make_record(), tmp_path / "two.json.xz")
    assert lzma.decompress((tmp_path / "two.json.xz").read_bytes()) == (tmp_path / "one.json").read_bytes()
    assert read_record(tmp_path / "two.json.xz") == make_record()
    (tmp_path / "three.json.xz").write_bytes(b"no xz")
    found = read_records(tmp_path)
    assert [record for _, record in found.records] == [make_record()] * 2
    assert [path.name for path, _ in found.broken] == ["three.json.xz"]


def test_checkpoints_are_not_records(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path / "records" / "one.json")
    (tmp_path / "checkpoints" / "one").mkdir(parents=True)
    (tmp_path / "checkpoints" / "one" / "model.json").write_text("{}")
    found = read_records(tmp_path)
    assert (len(found.records), len(found.broken)) == (1, 0)


def test_a_results_directory_below_one_named_checkpoints_is_read(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path / "checkpoints" / "mine" / "one.json")
    assert len(read_records(tmp_path / "checkpoints" / "mine").records) == 1


def test_a_directory_that_is_not_there_holds_nothing_and_a_file_is_refused(tmp_path: Path) -> None:
    assert read_records(tmp_path / "none").records == ()
    file = tmp_path / "file.json"
    file.write_text("{}")
    with pytest.raises(RecordError, match="is a file"):
        read_records(file)


def _task(record: RunRecord, field: str, value: object) -> RunRecord:
    return record.model_copy(update={"task": record.task.model_copy(update={field: value})})


def _clean(record: RunRecord, column: str, value: object) -> RunRecord:
    assert isinstance(record.clean, Clean)
    return record.model_copy(update={"clean": record.clean.model_copy(update={column: value})})


def _tier(record: RunRecord, column: str, value: object) -> RunRecord:
    threat = record.threats[0]
    tier = threat.tiers[1].model_copy(update={column: value})
    threat = threat.model_copy(update={"tiers": (threat.tiers[0], tier, threat.tiers[2])})
    return record.model_copy(update={"threats": (threat, *record.threats[1:])})


def _attack(record: RunRecord, column: str, value: object) -> RunRecord:
    attack = record.threats[0].tiers[1].attacks[0].model_copy(update={column: value})
    return _tier(record, "attacks", (attack,))


ONES = BitColumn.of(np.ones(400, dtype=bool))
EPOCH = Epoch(epoch=1, loss=0.5, valid_auc=0.6, kept=True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda r: _task(r, "card", find_task("video-watch").card), "task.card"),
        (lambda r: r.model_copy(update={"clean": None}), "clean"),
        (lambda r: r.model_copy(update={"cost": None, "epochs": (EPOCH,)}), "cost"),
        (lambda r: r.model_copy(update={"status": "failed"}), "failure"),
        (lambda r: r.model_copy(update={"threats": r.threats * 2}), "threats"),
        (lambda r: _clean(r, "labels", ONES), "clean.labels"),
        (lambda r: _clean(r, "scores", FloatColumn.of(np.zeros(7))), "clean.scores"),
        (lambda r: _clean(r, "scores", FloatColumn(kind="f2", n=400, data="AAAA")), "clean.scores"),
        (lambda r: _clean(r, "impression_sizes", (3, 4)), "clean.impression_sizes"),
        (lambda r: _clean(r, "impression_users", (3,)), "clean.impression_users"),
        (
            lambda r: _clean(r, "impression_labels", BitColumn.of(np.ones(r.clean.impression_labels.n, dtype=bool))),
            "clean.impression_labels",
        ),
        (lambda r: _tier(r, "robust", BitColumn.of(np.zeros(3, dtype=bool))), "threats.stuffing.standard.robust"),
        (lambda r: _tier(r, "robust", ONES), "threats.stuffing.standard.robust"),
        (lambda r: _tier(r, "tier", "low"), "threats.stuffing"),
        (lambda r: _attack(r, "broken", ONES), "threats.stuffing.standard.greedy"),
        (
            lambda r: _attack(_attack(r, "attacked", ONES), "broken", r.threats[0].tiers[1].robust),
            "threats.stuffing.standard.greedy",
        ),
    ],
)
def test_a_record_that_contradicts_itself_is_broken_and_says_where(change: Change, field: str, tmp_path: Path) -> None:
    check_record(make_record())
    write_record(change(make_record()), tmp_path / "one.json")
    found = read_records(tmp_path)
    assert not found.records
    assert found.broken[0][1].field == field
    assert str(tmp_path / "one.json") in str(found.broken[0][1])


def test_a_failed_cell_is_a_good_record() -> None:
    check_record(make_record(failure="no memory"))


def test_a_score_that_rounded_to_zero_may_have_been_right_and_one_that_is_no_number_may_not() -> None:
    record = make_record(clean=1.0, threats={"stuffing": (1.0, 1.0, 1.0)})
    check_record(_clean(record, "scores", FloatColumn.of(np.zeros(400))))
    with pytest.raises(RecordError, match="wrong on the clean input"):
        check_record(_clean(record, "scores", FloatColumn.of(np.full(400, np.nan))))


def _subset(record: RunRecord, column: str, value: object) -> RunRecord:
    threat = record.threats[0].model_copy(update={column: value})
    return record.model_copy(update={"threats": (threat, *record.threats[1:])})


def _ranking(record: RunRecord, column: str, value: object) -> RunRecord:
    return record.model_copy(update={"ranking": (record.ranking[0].model_copy(update={column: value}),)})


def _promotion(record: RunRecord, column: str, value: object) -> RunRecord:
    return record.model_copy(update={"promotion": (record.promotion[0].model_copy(update={column: value}),)})


def _points(record: RunRecord, column: str, value: object) -> RunRecord:
    points = tuple(point.model_copy(update={column: value}) for point in record.threats[0].curve)
    return _subset(record, "curve", points)


RANKS = np.ones(60)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda r: _subset(r, "subset", (400, *r.threats[0].subset[1:])), "threats.stuffing.subset"),
        (lambda r: _subset(r, "subset", r.threats[0].subset[:1] * 60), "threats.stuffing.subset"),
        (lambda r: _subset(r, "subset", ()), "threats.stuffing.subset"),
        (lambda r: _subset(r, "curve", r.threats[0].curve[::-1]), "threats.stuffing.curve"),
        (lambda r: _points(r, "amount", float("inf")), "threats.stuffing.curve"),
        (lambda r: _points(r, "robust", BitColumn.of(np.ones(60, dtype=bool))), "threats.stuffing.curve"),
        (lambda r: _points(r, "robust", BitColumn.of(np.zeros(3, dtype=bool))), "threats.stuffing.curve"),
        (lambda r: _subset(r, "alone", r.threats[0].alone[:1] * 2), "threats.stuffing.alone"),
        (
            lambda r: _subset(r, "alone", (r.threats[0].alone[0].model_copy(update={"broken": ONES}),)),
            "threats.stuffing.alone.random",
        ),
        (lambda r: r.model_copy(update={"ranking": r.ranking[:1] * 2}), "ranking"),
        (lambda r: _ranking(r, "impressions", (0,) * 30), "ranking.stuffing.impressions"),
        (lambda r: _ranking(r, "impressions", (*range(29), 40)), "ranking.stuffing.impressions"),
        (lambda r: _ranking(r, "targets", (99,) * 30), "ranking.stuffing.targets"),
        (lambda r: _ranking(r, "targets", (0,)), "ranking.stuffing.targets"),
        (lambda r: _ranking(r, "scores", FloatColumn.of(RANKS)), "ranking.stuffing.scores"),
        (lambda r: r.model_copy(update={"promotion": r.promotion * 2}), "promotion"),
        (lambda r: _promotion(r, "before", FloatColumn.of(RANKS[1:])), "promotion.stuffing.before"),
        (lambda r: _promotion(r, "after", FloatColumn.of(RANKS * 102)), "promotion.stuffing.after"),
        (lambda r: _promotion(r, "after", FloatColumn.of(RANKS * np.nan)), "promotion.stuffing.after"),
    ],
)
def test_curves_rankings_and_promotions_that_contradict_the_record_are_refused(change: Change, field: str) -> None:
    check_record(make_record(further=True))
    with pytest.raises(RecordError) as caught:
        check_record(change(make_record(further=True)))
    assert caught.value.field == field
