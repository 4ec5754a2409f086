"""Certified accuracy from the record to the tables: facts, their contradictions, and a column where a row has one."""

from __future__ import annotations

import csv
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from synthetic_records import failed_gate, make_record

import recgauntlet
from recgauntlet.cli import cli
from recgauntlet.core.card import TIERS
from recgauntlet.core.errors import RecordError
from recgauntlet.core.files import CURRENT
from recgauntlet.leaderboard.address import open_board
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.paper_table import build_paper_tables
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.leaderboard.selection import Selection
from recgauntlet.leaderboard.table_csv import to_csv
from recgauntlet.records.columns import BitColumn
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.validate import check_record

Change = Callable[[RunRecord], RunRecord]
RESULTS = Path(__file__).parents[3] / "results" / CURRENT


def table_of(*records: RunRecord) -> TaskTable:
    (table,) = build_table(records)
    return table


def mixed(seeds: int = 2) -> list[RunRecord]:
    return [
        *(make_record(seed=seed) for seed in range(seeds)),
        *(make_record(seed=seed, defense="smooth", certified=True) for seed in range(seeds)),
    ]


def smooth_row(table: TaskTable) -> Row:
    return next(row for row in table.rows if row.defense.name == "smooth")


def test_a_record_with_a_certificate_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = make_record(certified=True)
    check_record(record)
    write_record(record, tmp_path / "one.json")
    assert read_record(tmp_path / "one.json") == record
    proved = record.proved("stuffing", "low")
    assert proved is not None
    assert proved.any()
    assert record.proved("embedding", "low") is None


def test_a_record_without_one_has_the_bytes_it_had_before(tmp_path: Path) -> None:
    path = next(iter(sorted(RESULTS.glob("*/standard/nrms-standard-0.json.xz"))))
    text = lzma.decompress(path.read_bytes())
    assert b"certified" not in text
    write_record(read_record(path), tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == text


def _bits(record: RunRecord, place: int, bits: np.ndarray) -> RunRecord:
    found = list(record.certified)
    found[place] = found[place].model_copy(update={"certified": BitColumn.of(bits)})
    return record.model_copy(update={"certified": tuple(found)})


def _changed(record: RunRecord, place: int, **values: object) -> RunRecord:
    found = list(record.certified)
    found[place] = found[place].model_copy(update=values)
    return record.model_copy(update={"certified": tuple(found)})


def _right(record: RunRecord) -> np.ndarray:
    assert record.clean is not None
    bits: np.ndarray = (record.clean.scores.to_float() > 0) == record.clean.labels.to_bool()
    return bits


LOW, STANDARD = "certified.stuffing.low", "certified.stuffing.standard"


@pytest.mark.parametrize(
    ("change", "field", "problem"),
    [
        (lambda r: _bits(r, 0, np.ones(400, dtype=bool)), LOW, "wrong on the clean input"),
        (lambda r: _bits(r, 0, _right(r)), LOW, "an attack broke"),
        (lambda r: _bits(r, 0, np.zeros(400, dtype=bool)), STANDARD, "a smaller budget does not"),
        (lambda r: _bits(r, 0, np.zeros(3, dtype=bool)), LOW, "must have 400 bits"),
        (lambda r: _changed(r, 0, reached=13), LOW, "reach no more votes"),
        (lambda r: _changed(r, 0, threat="swap"), "certified.swap.low", "not attacked"),
        (lambda r: _changed(r, 0, tier="standard"), "certified", "twice"),
    ],
)
def test_a_certificate_that_contradicts_its_record_is_refused(change: Change, field: str, problem: str) -> None:
    with pytest.raises(RecordError, match=problem) as caught:
        check_record(change(make_record(certified=True)))
    assert caught.value.field == field


def test_a_broken_certificate_is_a_good_record_where_a_failed_gate_says_so() -> None:
    record = make_record(certified=True)
    broken = _bits(record, 0, _right(record))
    gate = failed_gate("stuffing").model_copy(update={"name": "certificate-holds"})
    check_record(broken.model_copy(update={"gates": (gate,)}))
    for other in (gate.model_copy(update={"threat": "embedding"}), gate.model_copy(update={"passed": True})):
        with pytest.raises(RecordError, match="an attack broke"):
            check_record(broken.model_copy(update={"gates": (other,)}))


def test_certified_accuracy_is_the_mean_of_the_bits_with_an_interval_below_robust() -> None:
    records = mixed(3)
    row = smooth_row(table_of(*records))
    for place, tier in enumerate(TIERS):
        expected = np.mean([r.certified[place].certified.to_bool().mean() for r in records if r.certified])
        cells = row.under("stuffing")
        cell = cells.at(tier) if cells else None
        assert cell is not None
        assert cell.certified is not None
        assert cell.certified.value == pytest.approx(expected)
        assert cell.certified.low <= expected <= cell.certified.high <= cell.robust.high
        assert cell.certified.value <= cell.robust.value
        assert expected > 0 or (cell.certified.low, cell.certified.high) == (0, 0)


def test_other_numbers_do_not_change_beside_a_certificate() -> None:
    plain = [make_record(seed=seed, defense="smooth") for seed in range(3)]
    row, other = table_of(*plain).rows[0], smooth_row(table_of(*mixed(3)))
    assert (row.clean, row.worst) == (other.clean, other.worst)
    for own, same in zip(row.threats, other.threats, strict=True):
        assert [(c.robust, c.retained) for c in own.cells] == [(c.robust, c.retained) for c in same.cells]


def test_a_row_has_a_certified_accuracy_only_where_all_its_seeds_have() -> None:
    records = [make_record(seed=0, certified=True), make_record(seed=1)]
    table = table_of(*records)
    assert not table.certifies("stuffing", "standard")


def test_the_csv_says_not_applicable_of_rows_without_one_and_has_no_column_where_no_row_has_one() -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv([table_of(*mixed())]).decode())))
    name = "certified_accuracy:stuffing:standard"
    told = {line["defense"]: line[name] for line in lines}
    assert told["standard"] == "not applicable"
    assert 0 < float(told["smooth"]) < 1
    assert float(lines[0]["clean_accuracy"]) > 0
    assert "certified_accuracy:embedding:standard" not in lines[0]
    assert b"certified" not in to_csv([table_of(make_record())])


def test_the_frame_has_it_for_its_rows_and_examples_alone(tmp_path: Path) -> None:
    for number, record in enumerate(mixed()):
        write_record(record, tmp_path / f"{number}.json")
    found = recgauntlet.load(tmp_path)
    own = found[(found.defense == "smooth") & (found.threat == "stuffing")]
    assert own.certified_accuracy.notna().all()
    assert (own.certified_accuracy <= own.robust_accuracy).all()
    assert found[(found.defense == "standard") | (found.threat == "embedding")].certified_accuracy.isna().all()
    examples = recgauntlet.load(tmp_path, examples=True)
    each = examples[(examples.defense == "smooth") & (examples.threat == "stuffing")]
    means = each.groupby(["tier", "seed"], observed=True)["certified"].mean()
    for (tier, seed), share in means.items():
        row = own[(own.tier == tier) & (own.seed == seed)]
        assert float(row.certified_accuracy.iloc[0]) == pytest.approx(float(share))
    assert examples[examples.defense == "standard"].certified.isna().all()


def test_a_table_for_a_paper_has_the_column_when_asked(tmp_path: Path) -> None:
    for number, record in enumerate(mixed()):
        write_record(record, tmp_path / f"{number}.json")
    (paper,) = build_paper_tables(open_board(tmp_path), Selection(), ("clean_accuracy", "certified_accuracy"))
    assert [(head.group, head.title) for head in paper.heads] == [("", "clean"), ("stuffing", "medium, certified")]
    told = {line.defense: line.entries[1].text for line in paper.lines}
    assert told["undefended"] == "n/a"
    assert float(told["smooth"]) > 0


def test_a_record_in_words_says_what_is_certified(tmp_path: Path) -> None:
    record = make_record(certified=True)
    for number, one in enumerate((record, make_record())):
        write_record(one, tmp_path / f"{number}.json")
    told, plain = (CliRunner().invoke(cli, ["show", str(tmp_path / f"{number}.json")]).output for number in (0, 1))
    share = record.certified[0].certified.to_bool().mean()
    assert f"certified       stuffing: low {share:.1%}, medium" in told
    assert "certified" not in plain


def test_the_published_schema_names_the_field() -> None:
    schema = json.loads((RESULTS.parents[1] / "docs" / "record.schema.json").read_text(encoding="utf-8"))
    assert "certified" in schema["properties"]
    assert "certified" not in schema["required"]
