"""Poison tables: one Parquet file an attack and tier, with a header that names what it was made for.

Rows are interactions of new accounts, or of genuine users where plays are put into accounts that exist. The columns are
`account` and `item` (text) and `time`: seconds since 1970 (UTC); where the data has an order but no clock, the place in
the account's own order, from 0; of a play that is put into an account, the place of the genuine play that it stands
before. The header is JSON under the key `recgauntlet` of the file's metadata.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet
from pydantic import BaseModel, ConfigDict, ValidationError

from recgauntlet.core.card import Tier
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import DataError
from recgauntlet.core.files import write_atomically
from recgauntlet.core.poison import FakeAccounts, Insertions
from recgauntlet.core.types import Scalar
from recgauntlet.data.sources import read_raw

FORMAT = 1
COLUMNS = ("account", "item", "time")
_KEY = b"recgauntlet"
_REMEDY = "make it again: recgauntlet poison make"


class PoisonHeader(BaseModel):
    """What a poison table was made for, and by what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = FORMAT
    task: str
    track: str
    data: str
    """Fingerprint of the track's tables."""
    threat: str
    tier: Tier
    attack: str
    hyperparameters: dict[str, Scalar]
    knowledge: str
    """What the attacker knew: "public", or "training-data"."""
    chosen: tuple[str, ...] = ()
    """Where the attack chose among others: those whose accounts these are, those of the lower tiers first."""
    suite: str
    """Version of the poisoning attacks."""
    targets: dict[str, tuple[str, ...]]
    """The items' ids, by the name of their set."""
    sha256: str
    """Over the rows, each as a JSON array, one a line."""


@dataclass(frozen=True)
class PoisonTable:
    """A poison table as it was read: nothing of its rows is checked yet.

    header
        What it was made for.
    accounts, items, times
        The columns, row by row.
    """

    header: PoisonHeader
    accounts: Sequence[object]
    items: Sequence[object]
    times: Sequence[object]

    def __len__(self) -> int:
        return len(self.accounts)

    def rows(self) -> list[tuple[object, object, object]]:
        """`(account, item, time)` of each row."""
        return list(zip(self.accounts, self.items, self.times, strict=True))


def rows_hash(rows: Sequence[tuple[object, object, object]]) -> str:
    """SHA-256 over rows `(account, item, time)`."""
    return hashlib.sha256("".join(json.dumps(row) + "\n" for row in rows).encode()).hexdigest()


def named_rows(fakes: FakeAccounts, catalog: Catalog) -> list[tuple[object, object, object]]:
    """The rows of accounts, with the ids of their items; account 0 is `fake-00001`. An item that is not in the catalog
    keeps its number, which the verifier refuses."""
    ids = catalog.ids
    return [
        (f"fake-{account + 1:05}", ids[item] if 0 <= item < len(ids) else str(item), time)
        for account, item, time in zip(fakes.accounts.tolist(), fakes.items.tolist(), fakes.times.tolist(), strict=True)
    ]


def inserted_rows(
    insertions: Insertions, user_ids: Sequence[str], catalog: Catalog
) -> list[tuple[object, object, object]]:
    """The rows of interactions in genuine accounts, with the ids of users and items; an index that has no id keeps its
    number, which the verifier refuses."""
    columns = (
        [ids[number] if 0 <= number < len(ids) else str(number) for number in numbers.tolist()]
        for ids, numbers in ((user_ids, insertions.users), (catalog.ids, insertions.items))
    )
    return list(zip(*columns, insertions.places.tolist(), strict=True))


def write_table(table: PoisonTable, path: Path) -> None:
    """Write a table to `path`, all of it or nothing.

    Raises
    ------
    OutputError
        Where the file cannot be written.
    """
    kinds = (pa.string(), pa.string(), pa.int64())
    columns = [pa.array(c, kind) for c, kind in zip((table.accounts, table.items, table.times), kinds, strict=True)]
    rows = pa.table(columns, names=list(COLUMNS))
    content = io.BytesIO()
    parquet.write_table(rows.replace_schema_metadata({_KEY: table.header.model_dump_json()}), content)
    write_atomically(path, content.getvalue())


def read_table(path: Path) -> PoisonTable:
    """The table at `path`, whose rows may hold anything.

    Raises
    ------
    DataError
        Where the file is missing, damaged, of another format, lacks a column, or its rows are not those that its
        header was written for.
    """
    content = read_raw(path).content
    try:
        found = parquet.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        first = str(error).split("\n")[0]
        raise DataError(f"is no Parquet file, or a damaged one ({first})", where=path, remedy=_REMEDY) from error
    for name in COLUMNS:
        if found.column_names.count(name) != 1:
            problem = f"must have one such column; it has {', '.join(found.column_names) or 'none'}"
            raise DataError(problem, where=path, field=name, remedy=_REMEDY)
    text = (found.schema.metadata or {}).get(_KEY)
    if text is None:
        raise DataError("has no header, so it is no poison table", where=path, field="header", remedy=_REMEDY)
    try:
        header = PoisonHeader.model_validate_json(text)
    except ValidationError as error:
        first_fault = error.errors()[0]
        field = f"header.{'.'.join(map(str, first_fault['loc']))}"
        raise DataError(str(first_fault["msg"]), where=path, field=field, remedy=_REMEDY) from error
    if header.format != FORMAT:
        problem = f"is {header.format}, where {FORMAT} is expected"
        raise DataError(problem, where=path, field="header.format", remedy=_REMEDY)
    return PoisonTable(header, *(found.column(name).to_pylist() for name in COLUMNS))
