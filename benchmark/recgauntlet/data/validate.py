"""The rules that normalized tables keep to, checked before anything is made of them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from recgauntlet.core.dataset import IMPRESSIONS, INTERACTIONS, ITEMS, Tables
from recgauntlet.core.errors import DataError
from recgauntlet.data.cleaning import pc
from recgauntlet.data.fingerprint import named_tables

EARLIEST, LATEST = 0, 4_102_444_800
"""1970-01-01 and 2100-01-01 in seconds (UTC): a time outside was given in another unit, or is damaged."""


def validate(tables: Tables, where: str | Path) -> None:
    """Check every rule of the tables.

    Raises
    ------
    DataError
        Naming the table, the column and up to three of the ids at fault, and what to do: wrong columns, empty
        fields, duplicate ids, empty texts, unknown items, impossible times, users without history.
    """
    if (tables.interactions is None) == (tables.impressions is None):
        raise DataError(
            "has neither or both of the tables interactions and impressions",
            where=where,
            remedy="give exactly one of them",
        )
    schemas = {"items": ITEMS, "interactions": INTERACTIONS, "impressions": IMPRESSIONS}
    for name, table in named_tables(tables).items():
        _check_columns(table, schemas[name], f"{where} [{name}]")
    _check_items(tables.items, f"{where} [items]")
    if tables.interactions is not None:
        _check_interactions(tables.items, tables.interactions, f"{where} [interactions]")
    if tables.impressions is not None:
        _check_impressions(tables.items, tables.impressions, f"{where} [impressions]")


def _check_columns(table: pa.Table, schema: pa.Schema, where: str) -> None:
    for field in schema:
        if field.name not in table.column_names:
            raise DataError(
                "the column is missing",
                where=where,
                field=field.name,
                remedy=f"give the columns {', '.join(schema.names)}",
            )
        column = table.column(field.name)
        if column.type != field.type:
            raise DataError(
                f"has the type {column.type}, {field.type} is expected",
                where=where,
                field=field.name,
                remedy="convert the column",
            )
        if column.null_count:
            raise DataError(
                f"is empty in {column.null_count} rows",
                where=where,
                field=field.name,
                remedy="fill the field in or drop the rows",
            )
    if not table.num_rows:
        raise DataError("has no rows", where=where, remedy="the file is empty or cleaning left nothing: check both")


def _check_items(items: pa.Table, where: str) -> None:
    _check_filled(items, "id", where, "give every item an id")
    _check_unique(items, "id", where, "keep one row for each item")
    blank = items["id"].filter(pc.equal(pc.utf8_trim_whitespace(items["text"]), ""))
    _refuse(blank, "items have an empty text", where, "text", "give them a title or drop them")


def _check_interactions(items: pa.Table, interactions: pa.Table, where: str) -> None:
    _check_filled(interactions, "user", where, "give every interaction a user")
    _check_times(interactions, where)
    _check_known(interactions["item"], items, where, "item")
    pairs = interactions.group_by(["user", "item"]).aggregate([])
    counts = pairs.group_by("user").aggregate([("item", "count")])
    _refuse(
        counts["user"].filter(pc.less(counts["item_count"], 2)),
        "users without history: they took one item alone",
        where,
        "user",
        "drop users with fewer than two items (cleaning.min_user_items = 2 on a card of your own)",
    )


def _check_impressions(items: pa.Table, impressions: pa.Table, where: str) -> None:
    _check_filled(impressions, "impression", where, "give every impression an id")
    _check_filled(impressions, "user", where, "give every impression a user")
    _check_unique(impressions, "impression", where, "keep one row for each impression")
    _check_times(impressions, where)
    for name in ("history", "shown"):
        _check_known(pc.list_flatten(impressions[name]), items, where, name)
    ids = impressions["impression"]
    history, shown, clicked = (pc.list_value_length(impressions[name]) for name in ("history", "shown", "clicked"))
    _refuse(
        ids.filter(pc.not_equal(shown, clicked)),
        "impressions do not say for each candidate shown whether it was clicked",
        where,
        "clicked",
        "give one mark (clicked or not) for each candidate",
    )
    _refuse(
        ids.filter(pc.equal(history, 0)),
        "impressions are of users without history",
        where,
        "history",
        "drop them: a model has nothing to go by",
    )


def _check_filled(table: pa.Table, column: str, where: str, remedy: str) -> None:
    blank = pc.sum(pc.equal(table[column], "")).as_py()
    if blank:
        raise DataError(f"is empty in {blank} rows", where=where, field=column, remedy=remedy)


def _check_unique(table: pa.Table, column: str, where: str, remedy: str) -> None:
    counts = pc.value_counts(table[column])
    repeated = counts.field("values").filter(pc.greater(counts.field("counts"), 1))
    _refuse(repeated, "ids stand more than once", where, column, remedy)


def _check_times(table: pa.Table, where: str) -> None:
    bad = pc.or_(pc.less(table["time"], EARLIEST), pc.greater(table["time"], LATEST))
    remedy = "give whole seconds since 1970 (UTC); milliseconds must be divided by 1000"
    _refuse(table["time"].filter(bad), "times lie outside 1970 to 2100", where, "time", remedy)


def _check_known(used: pa.ChunkedArray | pa.Array, items: pa.Table, where: str, field: str) -> None:
    unknown = pc.unique(used.filter(pc.invert(pc.is_in(used, value_set=items["id"].combine_chunks()))))
    remedy = "add them to the items or drop the rows; a truncated items file looks like this too"
    _refuse(unknown, "items are not in the table of items", where, field, remedy)


def _refuse(bad: pa.ChunkedArray | pa.Array, problem: str, where: str, field: str, remedy: str) -> None:
    """DataError with the number of `bad` ids or values and up to three of them, where there are any."""
    if len(bad):
        every = sorted(map(str, bad.to_pylist()))
        some = ", ".join(every[:3]) + (", ..." if len(every) > 3 else "")
        raise DataError(f"{len(bad)} {problem} ({some})", where=where, field=field, remedy=remedy)
