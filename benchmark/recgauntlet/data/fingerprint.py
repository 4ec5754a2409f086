"""What a data set is, in one hash: SHA-256 of the normalized tables, whatever order their rows came in."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import pyarrow as pa

from recgauntlet.core.dataset import IMPRESSIONS, INTERACTIONS, ITEMS, Tables


@dataclass(frozen=True)
class TablePrint:
    """One table: its number of rows and the SHA-256 of its rows, each as a JSON array, sorted, one a line."""

    rows: int
    sha256: str


@dataclass(frozen=True)
class DataPrint:
    """All tables of a track by name, and `sha256` over them: the fingerprint on the card."""

    tables: dict[str, TablePrint]
    sha256: str


def named_tables(tables: Tables) -> dict[str, pa.Table]:
    """The tables that are there, by name."""
    every = {"items": tables.items, "interactions": tables.interactions, "impressions": tables.impressions}
    return {name: table for name, table in every.items() if table is not None}


def fingerprint(tables: Tables) -> DataPrint:
    """The fingerprint of `tables`; the order of rows and how the columns are stored do not matter."""
    schemas = {"items": ITEMS, "interactions": INTERACTIONS, "impressions": IMPRESSIONS}
    prints = {name: _print(table, schemas[name]) for name, table in named_tables(tables).items()}
    total = hashlib.sha256()
    for name, each in sorted(prints.items()):
        total.update(f"{name} {each.rows} {each.sha256}\n".encode())
    return DataPrint(prints, total.hexdigest())


def _print(table: pa.Table, schema: pa.Schema) -> TablePrint:
    columns = [table.column(name).to_pylist() for name in schema.names]
    encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode
    lines = sorted(encode(row) for row in zip(*columns, strict=True))
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
        digest.update(b"\n")
    return TablePrint(len(lines), digest.hexdigest())
