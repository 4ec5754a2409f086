"""UCI Online Retail: the raw invoice lines in any of their forms, and the tables they are cleaned into."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from recgauntlet.data.cleaning import first_takes, k_core, mentioned
from recgauntlet.data.download import download
from recgauntlet.data.sources import Mirror, RawFile, Unavailable, find_in, first_of, members, named_directory, read_raw
from recgauntlet.data.tables import INTERACTIONS, ITEMS, Tables
from recgauntlet.data.text import normalize
from recgauntlet.errors import DataError
from recgauntlet.paths import downloads
from recgauntlet.task import SourceOptions

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
            raise Unavailable(f"{directory} has none of: {', '.join(NAMES)}, online+retail.zip")
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
    raise Unavailable(f"no {SHARED} lies above the working directory or the program")


def parse(raw: RawFile) -> pd.DataFrame:
    """The invoice lines with the columns COLUMNS as text, but for `Quantity` (number) and `time` (seconds, UTC).

    Raises
    ------
    DataError
        Where the file is damaged, of another format, or lacks a column.
    """
    suffix = Path(raw.name).suffix.lower()
    try:
        if suffix == ".parquet":
            lines = pd.read_parquet(io.BytesIO(raw.content), columns=_present(raw))
        elif suffix == ".xlsx":
            lines = pd.DataFrame(_sheet(raw))
        else:
            lines = pd.read_csv(io.StringIO(_csv_text(raw.content)), dtype=str, keep_default_na=True)
    except DataError:
        raise
    except Exception as error:  # each reader has its own errors for a damaged file
        raise DataError(
            f"cannot be read: it is truncated or damaged ({type(error).__name__}: {error})",
            where=raw.name,
            remedy=_REMEDY,
        ) from error
    _check_columns(list(lines.columns), raw)
    if not len(lines):
        raise DataError("has no rows", where=raw.name, remedy=_REMEDY)
    for name in ("InvoiceNo", "StockCode", "Description", "CustomerID"):
        lines[name] = _converted(lines[name], _plain, name, raw)
    lines["Quantity"] = _converted(lines["Quantity"], float, "Quantity", raw)
    lines["time"] = _converted(lines["InvoiceDate"], _seconds, "InvoiceDate", raw)
    return lines


def _present(raw: RawFile) -> list[str]:
    import pyarrow.parquet as pq

    names = pq.read_schema(io.BytesIO(raw.content)).names
    _check_columns(names, raw)
    return list(COLUMNS)


def _check_columns(names: Sequence[object], raw: RawFile) -> None:
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise DataError(
            f"has no column {', '.join(missing)}: it is another file or another version (Online Retail II is one)",
            where=raw.name,
            field=missing[0],
            remedy=_REMEDY,
        )


def _sheet(raw: RawFile) -> dict[str, list[Any]]:
    """The wanted columns of the first sheet, row by row: pandas would hold all of it in memory twice."""
    from openpyxl import load_workbook

    book = load_workbook(io.BytesIO(raw.content), read_only=True, data_only=True)
    try:
        rows = book.worksheets[0].iter_rows(values_only=True)
        header = list(next(rows, ()))
        _check_columns(header, raw)
        places = [header.index(name) for name in COLUMNS]
        columns: list[list[Any]] = [[] for _ in COLUMNS]
        for row in rows:
            for column, place in zip(columns, places, strict=True):
                column.append(row[place])
        return dict(zip(COLUMNS, columns, strict=True))
    finally:
        book.close()


def _csv_text(content: bytes) -> str:
    """CSV exports that go round are UTF-8 or ISO-8859-1; what survives cleaning is ASCII either way."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


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


def _converted(column: pd.Series[Any], convert: Callable[[Any], Any], name: str, raw: RawFile) -> pd.Series[Any]:
    """The column with every value converted; each distinct value is converted once, for there are few of them."""
    codes, values = pd.factorize(column, use_na_sentinel=False)
    out = []
    for code, value in enumerate(values):
        try:
            out.append(convert(value))
        except (TypeError, ValueError) as error:
            row = int((codes == code).argmax()) + 2
            raise DataError(
                f"{value!r} in row {row} cannot be understood", where=raw.name, field=name, remedy=_REMEDY
            ) from error
    return pd.Series(out, dtype=object if isinstance(out[0], str) else None).take(codes).reset_index(drop=True)


def clean(lines: pd.DataFrame, *, stock_code: str, core: int) -> Tables:
    """The tables of invoice lines, by the rules on the card.

    Lines of a customer with a positive quantity, no cancelled invoice, and a stock code that matches `stock_code`;
    each product once for a customer, at the first purchase; the `core`-core; a product's text is its most frequent
    description (of equally frequent ones the first in the alphabet).
    """
    kept = lines[
        (lines["CustomerID"] != "")
        & (lines["Quantity"] > 0)
        & ~lines["InvoiceNo"].str.upper().str.startswith("C")
        & lines["StockCode"].str.fullmatch(stock_code)
        & (lines["Description"] != "")
    ]
    counts = kept.groupby(["StockCode", "Description"]).size().rename("lines").reset_index()
    counts["text"] = [normalize(text) for text in counts["Description"]]
    counts = counts.groupby(["StockCode", "text"])["lines"].sum().reset_index()
    counts = counts.sort_values(["StockCode", "lines", "text"], ascending=[True, False, True])
    best = counts.drop_duplicates("StockCode")
    interactions = pa.table(
        [
            pa.array(list(kept["CustomerID"]), pa.string()),
            pa.array(list(kept["StockCode"]), pa.string()),
            pa.array(list(kept["time"]), pa.int64()),
        ],
        schema=INTERACTIONS,
    )
    interactions = k_core(first_takes(interactions), core, core)
    items = pa.table([list(best["StockCode"]), list(best["text"]), [""] * len(best)], names=ITEMS.names).cast(ITEMS)
    return Tables(mentioned(items, interactions["item"]), interactions=interactions)
