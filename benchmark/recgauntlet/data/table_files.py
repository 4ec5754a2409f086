"""Columns of the user's own tables: csv, tsv, jsonl or parquet, plain or compressed with gzip."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from recgauntlet.core.errors import DataError
from recgauntlet.data.cleaning import pc
from recgauntlet.data.sources import read_raw
from recgauntlet.data.text import decode

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
SUFFIXES = (*FORMATS, *(f"{suffix}.gz" for suffix in FORMATS))
"""The endings that a table's file may have."""

Columns = dict[str, list[object]]
Choice = Callable[[Sequence[str]], list[str]]
_EXPORT = "export the table again"
_WRITTEN_AS_CSV = re.compile(r'"([^"]|"")*""([^"]|"")*"')


def read_columns(path: Path, required: Sequence[str], optional: Sequence[str] = ()) -> Columns:
    """The values of the named columns, row by row; of the `optional` ones those that are there.

    Values of csv and tsv are text, so an id like 007 stays what it is.

    Raises
    ------
    DataError
        Where the file is damaged, not UTF-8 or of another format, or a column is missing, there twice, or empty in
        a row. Lines count from 1 with the header, rows from 1 without it.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    suffix = "".join(suffixes[-2:-1] if zipped else suffixes[-1:])
    if suffix not in FORMATS:
        raise DataError(
            f"has the ending {''.join(path.suffixes[-1 - zipped :])!r}",
            where=path,
            remedy=f"give a file of one of the forms {', '.join(SUFFIXES)}",
        )
    content = read_raw(path).content
    if zipped:
        try:
            content = gzip.decompress(content)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"is truncated or no gzip file ({error})", where=path, remedy=_EXPORT) from error
    choose = partial(_chosen, required=required, optional=optional, path=path)
    if suffix == ".parquet":
        found = _parquet(content, choose, path)
    elif suffix == ".jsonl":
        found = _jsonl(decode(content, path), choose, path)
    else:
        lines = (_quoted if suffix == ".csv" else _unquoted)(decode(content, path), path)
        found = _delimited(lines, choose, path)
    for name, values in found.items():
        empty = sum(value is None for value in values)
        if empty:
            remedy = "fill the field in or drop the rows"
            raise DataError(f"is empty in {empty} rows", where=path, field=name, remedy=remedy)
    return found


def as_text(values: Sequence[object], name: str, path: Path) -> list[str]:
    """Text and whole numbers as text; DataError where a value is another thing."""
    for row, value in enumerate(values, start=1):
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise DataError(
                f"{value!r} has the type {type(value).__name__}, text or whole numbers are expected",
                where=path,
                field=f"{name}, row {row}",
                remedy="convert the column to text",
            )
    return [str(value) for value in values]


def _quoted(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a csv file, each with the line it begins on."""
    reader, begun = csv.reader(io.StringIO(text, newline=""), strict=True), 1
    try:
        for row in reader:
            if row:
                yield begun, row
            begun = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"cannot be read: it is truncated or not csv ({error})",
            where=path,
            field=f"line {begun}",
            remedy='put a field that holds a comma, a line break or a quotation mark between quotation marks, with "" '
            "for each one inside; or " + _EXPORT,
        ) from error


def _unquoted(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a tsv file, each with its line: a quotation mark is a character like any other."""
    for number, line in enumerate(text.split("\n"), start=1):
        row = line.rstrip("\r").split("\t")
        if any(_WRITTEN_AS_CSV.fullmatch(field) for field in row):
            raise DataError(
                "a field is written with doubled quotation marks, as csv; tab-separated values have no quoting",
                where=path,
                field=f"line {number}",
                remedy="write the table without quoting, or as csv",
            )
        if row != [""]:
            yield number, row


def _delimited(lines: Iterator[tuple[int, list[str]]], choose: Choice, path: Path) -> Columns:
    header = [name.strip() for name in next(lines, (1, [""]))[1]]
    if header == [""]:
        raise DataError("is empty: it has no header", where=path, field="line 1", remedy=_EXPORT)
    places = {name: header.index(name) for name in choose(header)}
    found: Columns = {name: [] for name in places}
    for number, row in lines:
        if len(row) != len(header):
            raise DataError(
                f"has {len(row)} fields, the header has {len(header)}: the line is truncated, or a text holds a "
                "separator or a line break",
                where=path,
                field=f"line {number}",
                remedy="take tabs and line breaks out of the texts, or write the table as csv with quoting",
            )
        for name, place in places.items():
            found[name].append(row[place])
    return found


def _jsonl(text: str, choose: Choice, path: Path) -> Columns:
    objects: list[dict[str, object]] = []
    keys: list[str] = []
    names: Counter[str] = Counter()  # how often a line has each name, at most
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            pairs = json.loads(line, object_pairs_hook=list)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"cannot be read: it is truncated or not jsonl ({error})",
                where=path,
                field=f"line {number}",
                remedy=_EXPORT,
            ) from error
        if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
            remedy = 'write one object a line: {"id": "7", "text": "A title"}'
            raise DataError("is no object", where=path, field=f"line {number}", remedy=remedy)
        if keys != (keys := [key for key, _ in pairs]):
            names |= Counter(keys)
        objects.append(dict(pairs))
    return {name: [row.get(name) for row in objects] for name in choose(list(names.elements()))}


def _parquet(content: bytes, choose: Choice, path: Path) -> Columns:
    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
        present = choose(file.schema_arrow.names)
        table = file.read(columns=present)
        return {name: _values(table.column(name)) for name in present}
    except (pa.ArrowException, OSError) as error:
        first = str(error).split("\n")[0]
        raise DataError(
            f"cannot be read: it is truncated or not parquet ({first})", where=path, remedy=_EXPORT
        ) from error


def _values(column: pa.ChunkedArray) -> list[object]:
    """A column as Python values, dates and times to the second; a dictionary (a categorical) is its values."""
    if pa.types.is_timestamp(column.type):
        column = pc.cast(column, pa.timestamp("s", column.type.tz), safe=False)
    out: list[object] = column.to_pylist()
    return out


def _chosen(names: Sequence[str], required: Sequence[str], optional: Sequence[str], path: Path) -> list[str]:
    """The columns to read among `names`; DataError where one is there twice, or a required one is not."""
    for name in (*required, *optional):
        if names.count(name) > 1:
            raise DataError(
                f"is the name of {names.count(name)} columns",
                where=path,
                field=name,
                remedy="rename or drop all of them but one",
            )
        if name in required and name not in names:
            raise DataError(
                f"has no such column; it has {', '.join(names) or 'none'}",
                where=path,
                field=name,
                remedy="name the columns id, text, category (items) and user, item, time (interactions); where the "
                'data has an order but no clock, position in place of time, with split.rule = "per-user" on the card',
            )
    return [name for name in (*required, *optional) if name in names]
