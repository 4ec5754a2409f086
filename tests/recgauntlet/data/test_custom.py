from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recgauntlet.core.dataset import Tables
from recgauntlet.core.errors import CardError, DataError, PluginError
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.custom import find_task_or_card, read_table, task_from_card
from recgauntlet.data.fingerprint import fingerprint
from recgauntlet.data.prepare import prepare

EXAMPLE = Path(__file__).parents[3] / "examples" / "own-data"
ITEMS = [{"id": "007", "text": "A  Toy,\nred", "category": "toys"}, {"id": "8", "text": "Caf\u00e9", "category": ""}]
TAKES = [{"user": "1", "item": "007", "time": 1700000000}, {"user": "1", "item": "8", "time": 1700000060}]


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """The example's card, its tables not yet beside it."""
    card = tmp_path / "shop" / "card.toml"
    card.parent.mkdir()
    text = (EXAMPLE / "bookshop.toml").read_text(encoding="utf-8")
    kept = [
        line
        for line in text.splitlines()
        if not line.startswith(("items =", "interactions =", "min_user_items", "min_item_users"))
    ]
    card.write_text("\n".join(kept), encoding="utf-8")
    return card


def load(shop: Path, options: SourceOptions) -> Tables:
    task = task_from_card(shop)
    return task.load(task.card, "standard", options)


def interactions(shop: Path, options: SourceOptions) -> pa.Table:
    found = load(shop, options).interactions
    assert found is not None
    return found


def write(folder: Path, form: str, times: list[object] | None = None) -> None:
    takes = [{**row, "time": time} for row, time in zip(TAKES, times or [row["time"] for row in TAKES], strict=True)]
    for name, rows in {"items": ITEMS, "interactions": takes}.items():
        path = folder / f"{name}.{form}"
        if form == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        elif form == "jsonl":
            import json

            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        else:
            comma = "," if form == "csv" else "\t"
            quoted = [[f'"{value}"' if "\n" in str(value) else str(value) for value in row.values()] for row in rows]
            lines = [comma.join(rows[0]), *(comma.join(row) for row in quoted)]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_every_form_gives_the_same_tables(shop: Path, options: SourceOptions, form: str) -> None:
    write(shop.parent, form)
    assert load(shop, options).items.to_pylist() == [
        {"id": "007", "text": "A Toy, red", "category": "toys"},
        {"id": "8", "text": "Caf\u00e9", "category": ""},
    ]
    assert interactions(shop, options).to_pylist() == TAKES


@pytest.mark.parametrize(
    "times",
    [
        ["1700000000", "1700000060.0"],
        ["2023-11-14T22:13:20", "2023-11-14 22:14:20+00:00"],
        ["2023-11-14T23:13:20+01:00", "1700000060"],
    ],
)
def test_times_may_be_seconds_or_dates(shop: Path, options: SourceOptions, times: list[object]) -> None:
    write(shop.parent, "csv", times)
    assert interactions(shop, options)["time"].to_pylist() == [1700000000, 1700000060]


def test_timestamps_of_parquet_are_times(shop: Path, options: SourceOptions) -> None:
    write(shop.parent, "parquet")
    path = shop.parent / "interactions.parquet"
    table = pq.read_table(path)
    stamps = pa.array([1700000000_500, 1700000060_000], pa.timestamp("ms"))
    pq.write_table(table.set_column(2, "time", stamps), path)
    assert interactions(shop, options)["time"].to_pylist() == [1700000000, 1700000060]


def test_the_example_prepares_and_a_sample_of_it_has_another_fingerprint(
    tmp_path: Path, options: SourceOptions
) -> None:
    task = task_from_card(EXAMPLE / "bookshop.toml")
    data = prepare(task, "standard", options)
    assert (len(data.train), len(data.impressions), len(data.catalog)) == (400, 50, 80)
    other = tmp_path / "copy"
    shutil.copytree(EXAMPLE, other)
    lines = (other / "interactions.csv").read_text().splitlines(keepends=True)
    (other / "interactions.csv").write_text("".join(lines[:-9]))
    changed = SourceOptions(other, options.cache)
    assert fingerprint(task.load(task.card, "standard", changed)).sha256 != data.fingerprint


def test_the_core_is_taken_where_the_card_asks_for_it(shop: Path, options: SourceOptions) -> None:
    write(shop.parent, "csv")
    with (shop.parent / "interactions.csv").open("a") as file:
        file.write("lonely,8,1700000000\n")
    text = shop.read_text(encoding="utf-8")
    shop.write_text(text.replace("[tracks.standard.cleaning]", "[tracks.standard.cleaning]\nmin_user_items = 2"))
    assert set(interactions(shop, options)["user"].to_pylist()) == {"1"}


def broken(shop: Path, name: str, content: bytes, options: SourceOptions) -> DataError:
    write(shop.parent, "csv")
    (shop.parent / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(shop, options)
    return caught.value


def test_files_at_fault_are_named_with_line_and_remedy(shop: Path, options: SourceOptions) -> None:
    latin = broken(shop, "items.csv", b"id,text\n1,caf\xe9\n", options)
    assert ("not UTF-8" in latin.problem, latin.field) == (True, "line 2")
    assert latin.where is not None
    assert latin.where.endswith("items.csv")
    cut = broken(shop, "interactions.csv", b"user,item,time\n1,007,5\n1,8", options)
    assert ("truncated" in cut.problem, cut.field) == (True, "line 3")
    column = broken(shop, "items.csv", b"id,title\n1,x\n", options)
    assert (column.field, "has no such column" in column.problem) == ("text", True)
    time = broken(shop, "interactions.csv", b"user,item,time\n1,007,soon\n", options)
    assert time.field == "time, line 2"
    assert "is truncated or not csv" in broken(shop, "items.csv", b"", options).problem


def test_a_truncated_parquet_file_is_named(shop: Path, options: SourceOptions) -> None:
    write(shop.parent, "parquet")
    path = shop.parent / "items.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="truncated or not parquet"):
        load(shop, options)


def test_empty_cells_and_odd_types_of_parquet_are_refused(shop: Path, options: SourceOptions) -> None:
    write(shop.parent, "parquet")
    path = shop.parent / "items.parquet"
    pq.write_table(pa.table({"id": ["1", None], "text": ["a", "b"]}), path)
    with pytest.raises(DataError, match="empty in 1 rows"):
        load(shop, options)
    pq.write_table(pa.table({"id": [1.5, 2.5], "text": ["a", "b"]}), path)
    with pytest.raises(DataError, match="type double"):
        load(shop, options)


def test_files_that_are_missing_or_not_clear_are_asked_for(shop: Path, options: SourceOptions) -> None:
    with pytest.raises(DataError, match=r"no files items\.\*"):
        load(shop, options)
    write(shop.parent, "csv")
    write(shop.parent, "tsv")
    with pytest.raises(DataError, match=r"2 files items\.\*"):
        load(shop, options)
    example = task_from_card(EXAMPLE / "bookshop.toml")
    with pytest.raises(DataError, match="does not exist") as caught:
        example.load(example.card, "standard", SourceOptions(shop.parent / "no", options.cache))
    assert caught.value.field == "cleaning.items"
    (shop.parent / "items.xml").write_text("<items/>")
    with pytest.raises(DataError, match=r"has the ending '.xml'"):
        read_table(shop.parent / "items.xml")


def test_rules_that_are_not_known_are_refused(shop: Path) -> None:
    text = shop.read_text(encoding="utf-8")
    shop.write_text(text.replace("[tracks.standard.cleaning]", "[tracks.standard.cleaning]\nmin_users = 2"))
    with pytest.raises(CardError, match="min_users") as caught:
        task_from_card(shop)
    assert caught.value.field == "tracks.standard.cleaning"
    assert "min_user_items" in caught.value.remedy


@pytest.mark.parametrize("value", ["-1", "2.5", "true"])
def test_a_core_that_is_no_number_is_refused(shop: Path, options: SourceOptions, value: str) -> None:
    write(shop.parent, "csv")
    text = shop.read_text(encoding="utf-8")
    shop.write_text(text.replace("[tracks.standard.cleaning]", f"[tracks.standard.cleaning]\nmin_item_users = {value}"))
    with pytest.raises(CardError, match="no whole number"):
        load(shop, options)


def test_a_task_is_found_by_name_or_by_card() -> None:
    assert find_task_or_card(str(EXAMPLE / "bookshop.toml")).card.id == "bookshop"
    assert find_task_or_card("video-watch").card.id == "video-watch"
    with pytest.raises(PluginError, match="video-wach"):
        find_task_or_card("video-wach")
    with pytest.raises(CardError, match="cannot be read"):
        find_task_or_card("nowhere/card.toml")
