from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recgauntlet.core.dataset import Tables
from recgauntlet.core.errors import CardError, DataError, PluginError
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.custom import find_task_or_card, table_files, task_from_card
from recgauntlet.data.fingerprint import fingerprint
from recgauntlet.data.prepare import prepare
from recgauntlet.data.table_files import read_columns

EXAMPLE = Path(__file__).parents[3] / "examples" / "own-data"
ITEMS: list[dict[str, object]] = [
    {"id": "007", "text": "A  Toy,\nred", "category": "toys"},
    {"id": "8", "text": "Caf\u00e9", "category": ""},
]
TAKES: list[dict[str, object]] = [
    {"user": "1", "item": "007", "time": 1700000000},
    {"user": "1", "item": "8", "time": 1700000060},
]


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


def write(folder: Path, form: str, times: Sequence[object] = (1700000000, 1700000060)) -> None:
    """The items and takes as files of a form; numbers stay numbers where the form has them."""
    takes = [{**row, "time": time} for row, time in zip(TAKES, times, strict=True)]
    for name, rows in {"items": ITEMS, "interactions": takes}.items():
        put(folder / f"{name}.{form}", rows)


def put(path: Path, rows: Sequence[dict[str, object]]) -> None:
    """`rows` as a file of the form that the path's ending names."""
    form = path.name.removesuffix(".gz").rpartition(".")[2]
    if form == "parquet":
        buffer = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(rows)), buffer)
        content = buffer.getvalue().to_pybytes()
    elif form == "jsonl":
        content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    elif form == "csv":
        text = io.StringIO()
        csv.writer(text).writerows([list(rows[0]), *(list(row.values()) for row in rows)])
        content = text.getvalue().encode()
    else:
        lines = (
            "\t".join(str(value).replace("\n", " ") for value in row) for row in (rows[0], *map(dict.values, rows))
        )
        content = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


every_form = pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])


@pytest.mark.parametrize("ending", ["", ".gz"])
@every_form
def test_every_form_gives_the_same_tables(shop: Path, options: SourceOptions, form: str, ending: str) -> None:
    write(shop.parent, form + ending)
    assert load(shop, options).items.to_pylist() == [
        {"id": "007", "text": "A Toy, red", "category": "toys"},
        {"id": "8", "text": "Caf\u00e9", "category": ""},
    ]
    assert interactions(shop, options).to_pylist() == TAKES


TITLES = [
    '"Winter in the garden',
    '"Third" new book',
    "5\" nails, 'quoted', a \\ and \u65e5\u672c",
    '"all of it"',
    '""',
]


@every_form
def test_no_quotation_mark_changes_a_title_or_swallows_a_row(shop: Path, options: SourceOptions, form: str) -> None:
    write(shop.parent, form)
    put(shop.parent / f"items.{form}", [{"id": str(n), "text": title} for n, title in enumerate(TITLES)])
    assert load(shop, options).items["text"].to_pylist() == TITLES


@every_form
@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ((1700000000, 1700000060), (1700000000, 1700000060)),
        ((1700000000123, 1700000060999), (1700000000, 1700000060)),
        (("2023-11-14T23:13:20+01:00", "2023-11-14 22:14:20"), (1700000000, 1700000060)),
        (("2023-11-14", "20231115T000000Z"), (1699920000, 1700006400)),
        ((20230216, 20230217), (1676505600, 1676592000)),
        (("20230216", "20230217"), (1676505600, 1676592000)),
        ((20231114221320, 20231114221420), (1700000000, 1700000060)),
        ((1700000000.0, 1700000060.5), (1700000000, 1700000060)),
    ],
    ids=str,
)
def test_times_are_known_by_their_form(
    shop: Path, options: SourceOptions, form: str, times: tuple[object, ...], expected: tuple[int, ...]
) -> None:
    write(shop.parent, form, times)
    assert interactions(shop, options)["time"].to_pylist() == list(expected)


@every_form
@pytest.mark.parametrize(
    ("times", "problem", "field", "remedy"),
    [
        ((2023021612, 2023021613), "seconds or dates with an hour", "time", "2023-02-16T12:00:00"),
        ((1, 2), "no time between 1980 and 2100", "time, row 1", "call the column position"),
        ((20230216, 20231345), "'20231345' is no time between", "time, row 2", "dates like 20240531"),
        ((1700000000, 1700000000000000), "is no time between", "time, row 2", "milliseconds"),
        (
            (1700000000, 1700000060000),
            "mixes forms of time: seconds in row 1, milliseconds in row 2",
            "time",
            "one form",
        ),
        (("1" * 5000, "2" * 5000), "is no time between 1980 and 2100", "time, row 1", "ISO 8601"),
        (("2023-02-16", "soon"), "'soon' is no time", "time, row 2", "ISO 8601"),
        (("16/02/2023", "17/02/2023"), "is no time", "time, row 1", "ISO 8601"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_times_that_are_ambiguous_or_implausible_are_refused(
    shop: Path, options: SourceOptions, form: str, times: tuple[object, ...], problem: str, field: str, remedy: str
) -> None:
    write(shop.parent, form, times)
    with pytest.raises(DataError) as caught:
        load(shop, options)
    assert problem in caught.value.problem
    assert caught.value.field == field
    assert remedy in caught.value.remedy


@pytest.fixture
def ordered(shop: Path) -> Path:
    """The shop, split for each user, so that an order is enough."""
    text = shop.read_text(encoding="utf-8")
    shop.write_text(text.replace("split = { ", 'split = { rule = "per-user", '), encoding="utf-8")
    return shop


def put_places(shop: Path, form: str, places: Sequence[object], column: str = "position") -> None:
    write(shop.parent, form)
    rows: list[dict[str, object]] = [
        {"user": row["user"], "item": row["item"], column: place} for row, place in zip(TAKES, places, strict=True)
    ]
    put(shop.parent / f"interactions.{form}", rows)


@every_form
def test_an_order_is_enough_for_a_split_of_each_user(ordered: Path, options: SourceOptions, form: str) -> None:
    put_places(ordered, form, (4, 5))
    assert interactions(ordered, options)["time"].to_pylist() == [4, 5]
    write(ordered.parent, form)
    assert interactions(ordered, options).to_pylist() == TAKES


@every_form
def test_a_split_by_time_needs_times(shop: Path, options: SourceOptions, form: str) -> None:
    put_places(shop, form, (0, 1))
    with pytest.raises(DataError, match="has no such column") as caught:
        load(shop, options)
    assert caught.value.field == "time"
    assert 'split.rule = "per-user"' in caught.value.remedy


def test_a_column_position_beside_times_is_one_of_the_others(shop: Path, options: SourceOptions) -> None:
    write(shop.parent, "jsonl")
    put(shop.parent / "interactions.jsonl", [{**row, "position": None} for row in TAKES])
    assert interactions(shop, options).to_pylist() == TAKES


@pytest.mark.parametrize(
    ("places", "column", "problem", "field"),
    [
        (("0", "-1"), "position", "'-1' is no whole number from 0", "position, row 2"),
        (("0.5", "1"), "position", "'0.5' is no whole number", "position, row 1"),
        (("1", "9" * 5000), "position", "is no whole number from 0 to 4,102,444,800", "position, row 2"),
        (("first", "2"), "position", "'first' is no whole number", "position, row 1"),
        (("1", "2"), "place", "has neither of the columns time and position", "time"),
    ],
    ids=lambda part: str(part)[:40],
)
def test_an_order_that_is_none_is_refused(
    ordered: Path, options: SourceOptions, places: tuple[object, ...], column: str, problem: str, field: str
) -> None:
    put_places(ordered, "csv", places, column)
    with pytest.raises(DataError) as caught:
        load(ordered, options)
    assert problem in caught.value.problem
    assert (caught.value.where, caught.value.field) == (str(ordered.parent / "interactions.csv"), field)
    assert "position" in caught.value.remedy or "in their order" in caught.value.remedy


@every_form
def test_a_column_that_is_there_twice_is_named(shop: Path, options: SourceOptions, form: str) -> None:
    write(shop.parent, form)
    path = shop.parent / f"items.{form}"
    if form == "parquet":
        pq.write_table(pa.table([["1"], ["a"], ["b"]], names=["id", "text", "text"]), path)
    elif form == "jsonl":
        path.write_text('{"id": "0", "text": "a"}\n{"id": "1", "text": "a", "text": "b"}\n')
    else:
        path.write_text("id,text,text\n1,a,b\n".replace(",", "," if form == "csv" else "\t"))
    with pytest.raises(DataError, match="is the name of 2 columns") as caught:
        load(shop, options)
    assert (caught.value.where, caught.value.field) == (str(path), "text")
    assert "rename or drop" in caught.value.remedy


@pytest.mark.parametrize(
    "kind",
    [
        pa.large_string(),
        pa.string_view(),
        pa.dictionary(pa.int8(), pa.string()),
        pa.dictionary(pa.int32(), pa.large_string()),
    ],
    ids=str,
)
def test_all_kinds_of_text_in_parquet_are_text(shop: Path, options: SourceOptions, kind: pa.DataType) -> None:
    write(shop.parent, "parquet")
    columns = {name: pa.array([str(row[name]) for row in ITEMS]).cast(kind) for name in ITEMS[0]}
    pq.write_table(pa.table(columns), shop.parent / "items.parquet")
    assert load(shop, options).items["id"].to_pylist() == ["007", "8"]


def test_categoricals_of_pandas_are_their_values(shop: Path, options: SourceOptions) -> None:
    write(shop.parent, "parquet")
    frame = pd.DataFrame(TAKES).astype({"user": "category", "item": "category"})
    frame["time"] = pd.to_datetime(frame["time"], unit="s", utc=True)
    frame.to_parquet(shop.parent / "interactions.parquet")
    assert interactions(shop, options).to_pylist() == TAKES


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


@pytest.mark.parametrize(
    ("name", "content", "field", "problem"),
    [
        ("items.csv", b"id,text\n1,caf\xe9\n", "line 2", "not UTF-8"),
        ("items.csv", b"id,title\n1,x\n", "text", "has no such column; it has id, title"),
        ("items.csv", b"", "line 1", "is empty"),
        ("items.csv", b'id,text\n1,"a\nb"\n2,"Winter\n3,"New" book\n', "line 4", "not csv"),
        ("items.csv", b'id,text\n1,a\n2,"Winter\n3,b\n', "line 3", "not csv"),
        ("items.tsv", b'id\ttext\n1\t"a\nb"\n', "line 3", "has 1 fields, the header has 2"),
        ("items.tsv", b'id\ttext\n1\t"a ""good"" book"\n', "line 2", "doubled quotation marks"),
        ("items.jsonl", b'{"id": "1", "text": "a"}\n{"id": "2", "te', "line 2", "not jsonl"),
        ("items.jsonl", b'{"id": "1", "text": "a"}\n[1]\n', "line 2", "is no object"),
        ("items.jsonl", b'{"id": "1", "text": "a"}\n{"id": "2"}\n', "text", "is empty in 1 rows"),
        ("items.jsonl", b'{"id": "1", "text": "a"}\n{"id": "2", "text": 2.5}\n', "text, row 2", "type float"),
        ("items.csv.gz", gzip.compress(b"id,text\n1,a\n", mtime=0)[:-9], None, "truncated or no gzip file"),
        ("items.csv.gz", b"id,text\n1,a\n", None, "truncated or no gzip file"),
        ("interactions.csv", b"user,item,time\n1,007,5\n1,8", "line 3", "truncated"),
        ("interactions.csv", b"user,item,time\n1,007,soon\n", "time, row 1", "is no time"),
    ],
    ids=str,
)
def test_files_at_fault_are_named_with_line_and_remedy(
    shop: Path, options: SourceOptions, name: str, content: bytes, field: str | None, problem: str
) -> None:
    write(shop.parent, "csv")
    (shop.parent / f"{name.partition('.')[0]}.csv").unlink()
    (shop.parent / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load(shop, options)
    assert problem in caught.value.problem
    assert (caught.value.where, caught.value.field) == (str(shop.parent / name), field)
    assert caught.value.remedy


def test_files_that_hold_labels_are_found_wherever_the_card_names_them(shop: Path) -> None:
    for name in ("items.csv", "takes.PARQUET", "takes.jsonl.gz", "notes.txt"):
        (shop.parent / name).touch()
    text = shop.read_text(encoding="utf-8")
    shop.write_text(text.replace("[tracks.standard.cleaning]", '[tracks.standard.cleaning]\nitems = "deep/items.txt"'))
    found = {str(path.relative_to(shop.parent)) for path in table_files(shop, None)}
    assert found == {"items.csv", "takes.PARQUET", "takes.jsonl.gz", "deep/items.txt"}
    assert table_files(shop, Path("/data"))[-1] == Path("/data/deep/items.txt")


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
    with pytest.raises(DataError, match="type float"):
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
        read_columns(shop.parent / "items.xml", ["id"])


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
