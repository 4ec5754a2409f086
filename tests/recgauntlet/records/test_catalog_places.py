"""Places of clicks among all items in a record: kept, checked, and shown beside the sampled lists."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from synthetic_places import with_places
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.dataframe import _whole
from recgauntlet.leaderboard.paper_table import CATALOG
from recgauntlet.leaderboard.table_csv import to_csv
from recgauntlet.records.columns import FloatColumn
from recgauntlet.records.io import read_record, write_record
from recgauntlet.records.reruns import numbers_of
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.summary import print_summary
from recgauntlet.records.validate import check_record
from recgauntlet.runner.submission.rerun import _differences


def test_they_are_kept_and_old_records_have_none(tmp_path: Path) -> None:
    record = with_places(make_record()).sealed()
    write_record(record, tmp_path / "record.json")
    assert read_record(tmp_path / "record.json") == record
    assert "catalog" in json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["clean"]
    assert "catalog" not in make_record().model_dump(mode="json")["clean"]
    assert numbers_of(record) != numbers_of(make_record())


@pytest.mark.parametrize(
    "changes",
    [
        {"above": (0,)},
        {"above": (-1, 19)},
        {"tied": (100, 0)},
        {"above": (), "tied": (), "others": ()},
        {"above": (0,) * 999, "tied": (0,) * 999, "others": (9,) * 999},
    ],
)
def test_places_that_cannot_be_are_refused(changes: dict[str, tuple[int, ...]]) -> None:
    check_record(with_places(make_record()))
    with pytest.raises(RecordError) as caught:
        check_record(with_places(make_record(), **changes))
    assert str(caught.value.field).startswith("clean.catalog")


def test_rows_csv_frames_and_summaries_have_them_where_every_seed_has() -> None:
    records = [with_places(make_record(seed=seed)).sealed() for seed in range(3)]
    (table,), (plain,) = build_table(records), build_table([make_record(seed=seed) for seed in range(3)])
    (mixed,) = build_table([*records[:2], make_record(seed=2)])
    found = table.rows[0].catalog_quality
    assert found is not None
    assert (found.recall10, found.ndcg10, found.mrr) == pytest.approx((0.5, 0.5, (1 + 1 / 20) / 2))
    assert plain.rows[0].catalog_quality is mixed.rows[0].catalog_quality is None
    line, old = (next(csv.DictReader(io.StringIO(to_csv([one]).decode()))) for one in (table, plain))
    assert float(line["recall@10_catalog"]) == found.recall10
    assert set(line) - set(old) == set(CATALOG)
    assert _whole(records[0])["ndcg10_catalog"] == pytest.approx(0.5)
    assert _whole(make_record())["recall10_catalog"] is None
    console = Console(file=io.StringIO(), width=200)
    print_summary(console, records[0])
    assert isinstance(console.file, io.StringIO)
    assert "all items the user never took, 2 lists: recall@10 0.500" in console.file.getvalue()


def test_a_cell_run_again_must_have_the_same_places() -> None:
    record, better = with_places(make_record()), with_places(make_record(), above=(0, 5))
    assert list(_differences(record, record)) == list(_differences(record, make_record())) == []
    assert [field for field, _ in _differences(record, better)] == ["clean.catalog.above"]
    assert [field for field, _ in _differences(record, with_places(make_record(), others=(99, 98)))] == [
        "clean.catalog.others"
    ]


def with_catalog_ranks(record: RunRecord, **changes: object) -> RunRecord:
    """The record with ranks among all items that are one more than those among the sampled."""

    def one_more(ranks: FloatColumn) -> FloatColumn:
        return FloatColumn.of(ranks.to_float() + 1)

    promoted = tuple(
        one.model_copy(update={"catalog_before": one_more(one.before), "catalog_after": one_more(one.after)} | changes)
        for one in record.promotion
    )
    assert promoted
    return record.model_copy(update={"promotion": promoted, "digest": ""})


def test_exposure_among_all_items_stands_beside_the_sampled() -> None:
    records = [with_catalog_ranks(make_record(seed=seed, further=True)).sealed() for seed in range(3)]
    for record in records:
        check_record(record)
    (table,), (plain,) = (
        build_table(records),
        build_table([make_record(seed=seed, further=True).sealed() for seed in range(3)]),
    )
    (found,) = [cells.promotion for cells in table.rows[0].threats if cells.promotion]
    (sampled,) = [cells.promotion for cells in plain.rows[0].threats if cells.promotion]
    assert found.catalog is not None
    assert sampled.catalog is None
    assert found.exposure10_after == sampled.exposure10_after
    assert found.catalog.exposure10_after.value < found.exposure10_after.value
    line = next(csv.DictReader(io.StringIO(to_csv([table]).decode())))
    column = min((name for name in line if name.startswith("exposure@10_after_catalog:")), key=len)
    assert float(line[column]) == found.catalog.exposure10_after.value
    assert not any("catalog" in name for name in next(csv.DictReader(io.StringIO(to_csv([plain]).decode()))))


def test_ranks_among_all_items_that_cannot_be_are_refused() -> None:
    record = make_record(further=True)
    for changes in (
        {"catalog_after": None},
        {"catalog_before": FloatColumn.of(np.zeros(60))},
        {"catalog_after": FloatColumn.of(np.ones(7))},
    ):
        with pytest.raises(RecordError) as caught:
            check_record(with_catalog_ranks(record, **changes))
        assert str(caught.value.field).startswith("promotion.")
