"""Candidates drawn by popularity in a record: kept, checked, and shown beside the uniform ones."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from synthetic_popular import SIZE, with_popular
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.dataframe import _whole
from recgauntlet.leaderboard.table_csv import to_csv
from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.comparability import EvaluationSetting
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.ranking_quality import ranking_quality
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.summary import print_summary
from recgauntlet.records.validate import check_record


def test_they_are_kept_and_old_records_have_none(tmp_path: Path) -> None:
    record = with_popular(make_record()).sealed()
    write_record(record, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record
    assert "popular" in json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["clean"]
    assert "popular" not in make_record().model_dump(mode="json")["clean"]
    assert EvaluationSetting.of(record) != EvaluationSetting.of(make_record())


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"sizes": (SIZE,)}, "clean.popular.sizes"),
        ({"sizes": ()}, "clean.popular.sizes"),
        ({"scores": FloatColumn.of(np.zeros(3))}, "clean.popular.sizes"),
        ({"scores": FloatColumn(kind="f2", n=4, data="AAAA")}, "clean.popular.scores"),
        ({"labels": BitColumn(kind="bits", n=4, data="AAAA")}, "clean.popular.labels"),
    ],
)
def test_a_record_whose_popular_candidates_contradict_it_is_refused(changes: dict[str, object], field: str) -> None:
    check_record(with_popular(make_record()))
    with pytest.raises(RecordError) as caught:
        check_record(with_popular(make_record(), **changes))
    assert caught.value.field == field


def test_lists_without_a_click_or_of_other_clicks_are_refused() -> None:
    record = make_record()
    assert record.clean is not None
    count = len(record.clean.impression_sizes)
    for labels in (np.zeros(SIZE * count, dtype=bool), np.ones(SIZE * count, dtype=bool)):
        with pytest.raises(RecordError) as caught:
            check_record(with_popular(record, labels=BitColumn.of(labels)))
        assert caught.value.field == "clean.popular.labels"
    fewer = {
        "sizes": (SIZE,) * (count - 1),
        "labels": BitColumn.of(np.tile([True, False, False, False], count - 1)),
        "scores": FloatColumn.of(np.zeros(SIZE * (count - 1))),
    }
    with pytest.raises(RecordError, match=f"{count - 1} for {count} test impressions"):
        check_record(with_popular(record, **fewer))


def test_quality_is_that_of_the_list_that_is_asked_for() -> None:
    clean = with_popular(make_record()).clean
    assert clean is not None
    found = ranking_quality(clean, popular=True)
    assert found.impression_auc == pytest.approx(1 / 3)
    assert found.mrr == pytest.approx(1 / 3)
    assert found.ndcg10 == pytest.approx(0.5)
    assert ranking_quality(clean) != found
    plain = make_record().clean
    assert plain is not None
    assert ranking_quality(clean) == ranking_quality(plain)
    with pytest.raises(ValueError, match="no candidates drawn by popularity"):
        ranking_quality(plain, popular=True)


def test_rows_csv_frames_and_summaries_have_both_lists_where_the_record_has() -> None:
    records = [with_popular(make_record(seed=seed)).sealed() for seed in range(3)]
    (table,) = build_table(records)
    (plain,) = build_table([make_record(seed=seed) for seed in range(3)])
    quality = table.rows[0].popular_quality
    assert quality is not None
    assert quality.ndcg10 == pytest.approx(0.5)
    assert table.rows[0].quality == plain.rows[0].quality
    assert plain.rows[0].popular_quality is None
    line, old = (next(csv.DictReader(io.StringIO(to_csv([one]).decode()))) for one in (table, plain))
    assert float(line["ndcg@10_popular"]) == quality.ndcg10
    assert float(line["auc_popular"]) == quality.auc
    assert {name for name in line if name.endswith("_popular")} == set(line) - set(old)
    assert _whole(records[0])["ndcg10_popular"] == pytest.approx(0.5)
    assert _whole(make_record())["ndcg10_popular"] is None
    text = [printed(record) for record in (records[0], make_record())]
    assert "drawn by popularity: AUC 0.333, gAUC 0.333, MRR 0.333" in text[0]
    assert "drawn uniformly: AUC" in text[0]
    assert "rankings" not in text[1]


def printed(record: RunRecord) -> str:
    console = Console(file=io.StringIO(), width=200)
    print_summary(console, record)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()
