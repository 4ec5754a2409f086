"""Cleaning rules that more than one source needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

pc: Any = pyarrow.compute
"""pyarrow's compute functions: they are made at run time, so a type checker cannot see them."""


def table_of(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    """`rows` as a table of `schema`."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)


def k_core(interactions: pa.Table, users: int, items: int) -> pa.Table:
    """The largest part in which every user took at least `users` items and every item has at least `items` users.

    Repeated takes of one item by one user count once.
    """
    user = pc.index_in(interactions["user"], value_set=pc.unique(interactions["user"])).to_numpy()
    item = pc.index_in(interactions["item"], value_set=pc.unique(interactions["item"])).to_numpy()
    width = int(item.max(initial=0)) + 1
    pairs = np.unique(user.astype(np.int64) * width + item)
    while len(pairs):
        per_user, per_item = np.bincount(pairs // width), np.bincount(pairs % width)
        kept = pairs[(per_user[pairs // width] >= users) & (per_item[pairs % width] >= items)]
        if len(kept) == len(pairs):
            break
        pairs = kept
    return interactions.filter(pa.array(np.isin(user.astype(np.int64) * width + item, pairs)))


def first_takes(interactions: pa.Table) -> pa.Table:
    """Each item of each user once, at the earliest time."""
    grouped = interactions.group_by(["user", "item"]).aggregate([("time", "min")])
    return pa.table([grouped["user"], grouped["item"], grouped["time_min"]], names=["user", "item", "time"]).cast(
        interactions.schema
    )


def mentioned(items: pa.Table, used: pa.ChunkedArray | pa.Array) -> pa.Table:
    """The items whose ids are among `used`."""
    return items.filter(pc.is_in(items["id"], value_set=pc.unique(used)))


def sample_by_hash(ids: Iterable[str], size: int) -> set[str]:
    """The `size` ids with the smallest SHA-256: a sample that no version of a library can change."""
    return set(sorted(set(ids), key=lambda one: hashlib.sha256(one.encode()).digest())[:size])
