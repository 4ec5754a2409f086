"""A task of the user's own: a card and two tables, as docs/extend/task.md explains."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv, json, parquet

from recgauntlet.core.card import TaskCard, Track, load_card
from recgauntlet.core.dataset import INTERACTIONS, ITEMS, Tables
from recgauntlet.core.errors import CardError, DataError
from recgauntlet.core.task import SourceOptions, Task, find_task
from recgauntlet.data.cleaning import first_takes, k_core, mentioned, pc, table_of
from recgauntlet.data.sources import read_raw
from recgauntlet.data.text import decode, normalize

SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")
RULES = ("items", "interactions", "min_user_items", "min_item_users")
"""What the table `cleaning` of such a card may hold."""


def task_from_card(path: Path) -> Task:
    """The task that the card at `path` describes.

    Its tables are the files named by `cleaning.items` and `cleaning.interactions` (relative to the card, or to the
    directory given with --dir), else the files `items.*` and `interactions.*` beside the card.

    Raises
    ------
    CardError
        Where the card is wrong, or its cleaning table holds rules that are not known here.
    """
    card = load_card(path)
    for name, track in card.tracks.items():
        unknown = sorted(set(track.cleaning) - set(RULES))
        if unknown:
            raise CardError(
                f"the rules {', '.join(unknown)} are not known for data of your own",
                where=path,
                field=f"tracks.{name}.cleaning",
                remedy=f"use none but: {', '.join(RULES)}",
            )
    folder = path.absolute().parent

    def load(card: TaskCard, track: Track, options: SourceOptions) -> Tables:
        return _load(card, track, options.directory or folder)

    return Task(card, load)


def find_task_or_card(name: str) -> Task:
    """The registered task `name`, or the task of the card at that path where `name` ends in ".toml".

    Raises
    ------
    PluginError, CardError
        Where there is no such task, or the card is wrong.
    """
    return task_from_card(Path(name)) if name.endswith(".toml") else find_task(name)


def _load(card: TaskCard, track: Track, folder: Path) -> Tables:
    rules = card.track(track).cleaning
    items = _items(_file(rules.get("items"), folder, "items"))
    interactions = _interactions(_file(rules.get("interactions"), folder, "interactions"))
    users, takers = (_least(rules, name) for name in ("min_user_items", "min_item_users"))
    if users or takers:
        interactions = k_core(first_takes(interactions), users, takers)
        items = mentioned(items, interactions["item"])
    return Tables(items, interactions=interactions)


def _least(rules: dict[str, Any], name: str) -> int:
    value = rules.get(name, 0)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise CardError(
            f"{value!r} is no whole number of at least 0", field=f"cleaning.{name}", remedy="write a number like 5"
        )
    return value


def _file(named: object, folder: Path, role: str) -> Path:
    if named is not None:
        path = folder / str(named)
        if not path.is_file():
            raise DataError(
                "does not exist",
                where=path,
                field=f"cleaning.{role}",
                remedy="name a file beside the card, or use --dir",
            )
        return path
    found = [folder / f"{role}{suffix}" for suffix in SUFFIXES if (folder / f"{role}{suffix}").is_file()]
    if len(found) != 1:
        raise DataError(
            f"{len(found) or 'no'} files {role}.* were found ({', '.join(SUFFIXES)})",
            where=folder,
            field=f"cleaning.{role}",
            remedy=f"put one such file there, or name it on the card: cleaning.{role}",
        )
    return found[0]


def _items(path: Path) -> pa.Table:
    table = read_table(path)
    texts = _strings(table, "text", path)
    category = _strings(table, "category", path) if "category" in table.column_names else [""] * len(texts)
    rows = zip(_strings(table, "id", path), map(normalize, texts), map(normalize, category), strict=True)
    return table_of(list(rows), ITEMS)


def _interactions(path: Path) -> pa.Table:
    table = read_table(path)
    rows = zip(_strings(table, "user", path), _strings(table, "item", path), _times(table, path), strict=True)
    return table_of(list(rows), INTERACTIONS)


def read_table(path: Path) -> pa.Table:
    """A table from csv, tsv, jsonl (UTF-8) or parquet.

    Raises
    ------
    DataError
        Where the file is missing, truncated, not UTF-8, or of another format; the line is named where it is known.
    """
    suffix = path.suffix.lower()
    raw = read_raw(path)
    readers: dict[str, Callable[[], pa.Table]] = {
        ".csv": lambda: _delimited(raw.content, path, ","),
        ".tsv": lambda: _delimited(raw.content, path, "\t"),
        ".jsonl": lambda: json.read_json(pa.BufferReader(decode(raw.content, path).encode())),
        ".parquet": lambda: parquet.read_table(pa.BufferReader(raw.content)),
    }
    if suffix not in readers:
        raise DataError(
            f"has the ending {suffix!r}", where=path, remedy=f"give a file of one of the forms {', '.join(SUFFIXES)}"
        )
    try:
        return readers[suffix]()
    except pa.ArrowException as error:
        text = str(error)
        line = re.search(r"Row #(\d+)", text)
        raise DataError(
            f"cannot be read: it is truncated or not {suffix[1:]} ({text.splitlines()[0]})",
            where=path,
            field=f"line {line[1]}" if line else None,
            remedy="export the table again",
        ) from error


def _delimited(content: bytes, path: Path, delimiter: str) -> pa.Table:
    text = decode(content, path)
    header = text.split("\n", 1)[0].rstrip("\r").split(delimiter)
    names = [name.strip().strip('"') for name in header]
    return csv.read_csv(
        pa.BufferReader(text.encode()),
        read_options=csv.ReadOptions(use_threads=False),  # with threads, errors name no line
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        # Everything as text: ids like 007 must stay what they are.
        convert_options=csv.ConvertOptions(
            column_types={name: pa.string() for name in names}, strings_can_be_null=False
        ),
    )


def _column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise DataError(
            f"has no such column; it has {', '.join(table.column_names)}",
            where=path,
            field=name,
            remedy="name the columns id, text, category (items) and user, item, time (interactions)",
        )
    column = table.column(name)
    if column.null_count:
        raise DataError(
            f"is empty in {column.null_count} rows", where=path, field=name, remedy="fill the field in or drop the rows"
        )
    return column


def _strings(table: pa.Table, name: str, path: Path) -> list[str]:
    column = _column(table, name, path)
    kinds = pa.types
    if not any(is_kind(column.type) for is_kind in (kinds.is_integer, kinds.is_string, kinds.is_large_string)):
        raise DataError(
            f"has the type {column.type}, text or whole numbers are expected",
            where=path,
            field=name,
            remedy="convert the column to text",
        )
    out: list[str] = pc.cast(column, pa.string()).to_pylist()
    return out


def _times(table: pa.Table, path: Path) -> list[int]:
    """Seconds since 1970 from whole seconds, or from dates and times (ISO 8601; without a zone they are UTC)."""
    column = _column(table, "time", path)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        seconds = pc.cast(pc.cast(column, pa.timestamp("s"), safe=False), pa.int64())
        out: list[int] = seconds.to_pylist()
        return out
    values = column.to_pylist()
    return [_second(value, row, path) for row, value in enumerate(values, start=2)]


def _second(value: object, row: int, path: Path) -> int:
    text = str(value).strip()
    try:
        if re.fullmatch(r"-?\d+(\.0*)?", text):
            return int(text.partition(".")[0])
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise DataError(
            f"{text!r} is no time",
            where=path,
            field=f"time, line {row}",
            remedy="write whole seconds since 1970 (UTC) or ISO 8601 (2024-05-31T18:20:00)",
        ) from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
