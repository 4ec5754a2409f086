"""UCI Online Retail: the raw invoice lines in any of their forms, and the tables they are cleaned into."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from recgauntlet.core.dataset import INTERACTIONS, ITEMS, Tables
from recgauntlet.core.errors import DataError
from recgauntlet.core.files import downloads
from recgauntlet.core.task import SourceOptions
from recgauntlet.core.types import IntArray
from recgauntlet.data.cleaning import first_takes, k_core, mentioned, pc, table_of
from recgauntlet.data.download import download
from recgauntlet.data.sources import Mirror, MirrorError, RawFile, find_in, first_of, members, named_directory, read_raw
from recgauntlet.data.text import normalize

ARCHIVE = "https://archive.ics.uci.edu/static/public/352/online+retail.zip"
SPREADSHEET = "Online Retail.xlsx"
NAMES = (
    SPREADSHEET, "online_retail.xlsx", "online_retail.parquet", "online_retail.csv", "Online Retail.csv",
    "OnlineRetail.csv", "data.csv",
)  # fmt: skip
COLUMNS = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "CustomerID")
SHARED = Path("shared", "data", "online-retail", "online_retail.parquet")
_REMEDY = "use the file Online Retail.xlsx of UCI data set 352, or an export of it with the same columns"


def read(options: SourceOptions) -> RawFile:
    """The raw file: a directory of the user's, a copy in a folder `shared` above, or the UCI archive."""
    kept = downloads(options.cache)

    def named() -> dict[str, RawFile]:
        directory = named_directory(options.directory)
        found = find_in(directory, NAMES)
        if found is not None:
            return {"lines": read_raw(found)}
        archive = find_in(directory, ["online+retail.zip", "online-retail.zip", "online_retail.zip"])
        if archive is None:
            raise MirrorError(f"{directory} has none of: {', '.join(NAMES)}, online+retail.zip")
        return members(archive, {"lines": SPREADSHEET})

    def official() -> dict[str, RawFile]:
        return members(download(ARCHIVE, kept, offline=options.offline), {"lines": SPREADSHEET})

    mirrors = (
        Mirror("a directory of yours", named),
        Mirror(f"a copy in {SHARED.parent} above here", _shared),
        Mirror("the UCI archive", official),
    )
    return first_of(mirrors, "Online Retail")["lines"]


def _shared() -> dict[str, RawFile]:
    for start in (Path.cwd(), Path(__file__).resolve().parent):
        for above in (start, *start.parents):
            if (above / SHARED).is_file():
                return {"lines": read_raw(above / SHARED)}
    raise MirrorError(f"no {SHARED} lies above the working directory or the program")


def parse(raw: RawFile) -> pa.Table:
    """The invoice lines with the columns COLUMNS as text, but for `Quantity` (float) and `InvoiceDate` (seconds, UTC).

    Raises
    ------
    DataError
        Where the file is damaged, of another format, or lacks a column.
    """
    readers: dict[str, Callable[[RawFile], dict[str, Any]]] = {".parquet": _parquet, ".xlsx": _sheet, ".csv": _csv}
    try:
        columns = readers[Path(raw.name).suffix.lower()](raw)
    except DataError:
        raise
    except Exception as error:  # each reader has its own errors for a damaged file
        raise DataError(
            f"cannot be read: it is truncated or damaged ({type(error).__name__}: {error})",
            where=raw.name,
            remedy=_REMEDY,
        ) from error
    converters: dict[str, tuple[Callable[[Any], Any], pa.DataType]] = {
        "Quantity": (float, pa.float64()),
        "InvoiceDate": (_seconds, pa.int64()),
    }
    text: tuple[Callable[[Any], Any], pa.DataType] = (_plain, pa.string())
    return pa.table({name: _converted(columns[name], *converters.get(name, text), name, raw) for name in COLUMNS})


def _parquet(raw: RawFile) -> dict[str, Any]:
    source = pa.BufferReader(raw.content)
    _check_columns(parquet.read_schema(source).names, raw)
    table = parquet.read_table(source, columns=list(COLUMNS))
    return {name: table.column(name) for name in COLUMNS}


def _csv(raw: RawFile) -> dict[str, Any]:
    """CSV exports that go round are UTF-8 or ISO-8859-1; what survives cleaning is ASCII either way."""
    try:
        text = raw.content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.content.decode("latin-1")
    rows = csv.reader(io.StringIO(text, newline=""))
    return _by_column(rows, raw)


def _check_columns(names: Sequence[object], raw: RawFile) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise DataError(
            f"has no column {', '.join(missing)}: it is another file or another version (Online Retail II is one)",
            where=raw.name,
            field=missing[0],
            remedy=_REMEDY,
        )


def _sheet(raw: RawFile) -> dict[str, Any]:
    """The first sheet of a spreadsheet, row by row, for it is large."""
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(raw.content), read_only=True, data_only=True)
    try:
        return _by_column(book.worksheets[0].iter_rows(values_only=True), raw)
    finally:
        book.close()


def _by_column(rows: Iterable[Sequence[Any]], raw: RawFile) -> dict[str, Any]:
    every = iter(rows)
    header = list(next(every, ()))
    _check_columns(header, raw)
    places = [header.index(name) for name in COLUMNS]
    columns: list[list[Any]] = [[] for _ in COLUMNS]
    for row in every:
        for column, place in zip(columns, places, strict=True):
            column.append(row[place])
    return dict(zip(COLUMNS, columns, strict=True))


def _plain(value: object) -> str:
    """A cell as text: spreadsheets give numbers for codes and customers, 17850.0 for 17850, nothing for nothing."""
    if value is None or value != value:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    return text.removesuffix(".0") if text.removesuffix(".0").isdecimal() else text


def _seconds(value: object) -> int:
    """The minute of an invoice, in seconds since 1970; spreadsheets keep days as fractions, so they are rounded."""
    moment = value if isinstance(value, datetime) else _read_date(str(value))
    return round(moment.replace(tzinfo=UTC).timestamp() / 60) * 60


def _read_date(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.strptime(text, "%m/%d/%Y %H:%M")


def _converted(column: Any, convert: Callable[[Any], Any], kind: pa.DataType, name: str, raw: RawFile) -> pa.Array:
    """The column with every value converted; each distinct value is converted once, for there are few of them."""
    codes, values = _encoded(column)
    if not len(codes):
        raise DataError("has no rows", where=raw.name, remedy=_REMEDY)
    out = []
    for code, value in enumerate(values):
        try:
            out.append(convert(value))
        except (TypeError, ValueError) as error:
            row = int((codes == code).argmax()) + 2
            raise DataError(
                f"{value!r} in row {row} cannot be understood", where=raw.name, field=name, remedy=_REMEDY
            ) from error
    return pa.array(out, kind).take(pa.array(codes))


def _encoded(column: Any) -> tuple[IntArray, list[Any]]:
    """Where each value stands in the list of distinct values, and that list."""
    if isinstance(column, pa.ChunkedArray):
        coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
        return coded.indices.to_numpy().astype(np.int64), coded.dictionary.to_pylist()
    # 1 and True, or 1 and 1.0, are one key to a dictionary but not one text.
    places: dict[tuple[type, Any], int] = {}
    codes = [places.setdefault((type(value), value), len(places)) for value in column]
    return np.array(codes, dtype=np.int64), [value for _, value in places]


def clean(lines: pa.Table, *, stock_code: str, core: int) -> Tables:
    """The tables of invoice lines, by the rules on the card.

    Lines of a customer with a positive quantity, no cancelled invoice, and a stock code that matches `stock_code`;
    each product once for a customer, at the first purchase; the `core`-core; a product's text is its most frequent
    description (of equally frequent ones the first in the alphabet).
    """
    rules = (
        pc.not_equal(lines["CustomerID"], ""),
        pc.greater(lines["Quantity"], 0),
        pc.invert(pc.starts_with(pc.utf8_upper(lines["InvoiceNo"]), "C")),
        pc.match_substring_regex(lines["StockCode"], f"^(?:{stock_code})$"),
        pc.not_equal(lines["Description"], ""),
    )
    kept = lines.filter(reduce(pc.and_, rules))
    interactions = pa.table([kept["CustomerID"], kept["StockCode"], kept["InvoiceDate"]], schema=INTERACTIONS)
    interactions = k_core(first_takes(interactions), core, core)
    return Tables(mentioned(_items(kept), interactions["item"]), interactions=interactions)


def _items(kept: pa.Table) -> pa.Table:
    counted = kept.group_by(["StockCode", "Description"]).aggregate([([], "count_all")])
    uses: Counter[tuple[str, str]] = Counter()
    for code, description, count in zip(*(counted[n].to_pylist() for n in counted.column_names), strict=True):
        uses[code, normalize(description)] += count
    texts: dict[str, str] = {}
    for code, text in sorted(uses, key=lambda each: (-uses[each], each[1])):
        texts.setdefault(code, text)
    return table_of([(code, text, "") for code, text in texts.items()], ITEMS)
