"""Artists that listeners of Last.fm tagged: readers of the two forms in which the sequences are kept."""

from __future__ import annotations

import hashlib
import pickletools
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from recgauntlet.core.dataset import INTERACTIONS, ITEMS, Tables
from recgauntlet.core.errors import DataError
from recgauntlet.core.types import IntArray
from recgauntlet.data.cleaning import table_of
from recgauntlet.data.sources import RawFile
from recgauntlet.data.text import decode, normalize, separated

Plays = list[tuple[int, int]]
"""Listener and artist of each row, both as numbers."""
COLUMNS = {"plays": ("user", "artist"), "artists": ("artist", "name")}
_REMEDY = "use the files named in docs/reference/data.md, unchanged"


def encoded(plays: RawFile, artists: RawFile) -> Tables:
    """The tables of `plays.parquet` (user, position, artist) and `artists.parquet` (artist, name).

    Raises
    ------
    DataError
        Where a file is damaged, lacks a column, or has other values than whole numbers and names.
    """
    users, items = (_numbers(column, plays) for column in _columns(plays, COLUMNS["plays"]))
    numbers, names = _columns(artists, COLUMNS["artists"])
    texts = [str(name) for name in names.to_pylist()]
    return tables(
        zip(users.tolist(), items.tolist(), strict=True), zip(_numbers(numbers, artists).tolist(), texts, strict=True)
    )


def published(sequences: RawFile, names: RawFile) -> Tables:
    """The same tables from the published `train_data.df`, a pickled data frame, and `id2name.txt`.

    Raises
    ------
    DataError
        Where a file is damaged or another one.
    """
    rows = separated(decode(names.content, names.name), "::", 2, names.name)
    numbers = _numbers(pa.chunked_array([[number for number, _ in rows]]), names)
    return tables(_sequences(sequences), zip(numbers.tolist(), (name for _, name in rows), strict=True))


def tables(plays: Iterable[tuple[int, int]], names: Iterable[tuple[int, str]]) -> Tables:
    """Items and interactions; `time` is a place in an order that is drawn.

    The files give each listener's artists in the order of the artists' numbers in HetRec 2011, which says nothing
    about when they were listened to: numbers rise with rarity. So the order within a listener is that of the SHA-256
    of "listener/artist", which no version of a library can change.
    """
    by_listener: dict[int, list[int]] = {}
    for user, artist in plays:
        by_listener.setdefault(user, []).append(artist)
    rows = [
        (str(user), str(artist), place)
        for user, artists in by_listener.items()
        for place, artist in enumerate(sorted(artists, key=lambda artist: _drawn(user, artist)))
    ]
    items = [(str(number), normalize(name), "") for number, name in names]
    return Tables(table_of(items, ITEMS), interactions=table_of(rows, INTERACTIONS))


def _drawn(user: int, artist: int) -> bytes:
    return hashlib.sha256(f"{user}/{artist}".encode()).digest()


def _columns(raw: RawFile, columns: tuple[str, ...]) -> list[pa.ChunkedArray]:
    try:
        table = parquet.read_table(pa.BufferReader(raw.content), columns=list(columns))
        return [table.column(name) for name in columns]
    except (pa.ArrowException, KeyError, OSError) as error:
        raise DataError(
            f"cannot be read: it is damaged, or lacks one of the columns {', '.join(columns)} ({error})",
            where=raw.name,
            remedy=_REMEDY,
        ) from error


def _numbers(column: pa.ChunkedArray, raw: RawFile) -> IntArray:
    try:
        out: IntArray = column.cast(pa.int64()).to_numpy()
        if column.null_count == 0 and (out >= 0).all():
            return out
    except (pa.ArrowException, ValueError):
        pass  # text that is no number
    raise DataError(
        "numbers of listeners and artists are whole and not negative; some here are not", where=raw.name, remedy=_REMEDY
    )


def _sequences(raw: RawFile) -> Plays:
    """Listener and artist of each row of the pickled data frame, of which nothing is executed.

    Each row stands for one place of a listener's sequence: `seq` (the ten artists before), `len_seq` (how many of
    them there are, but 1 where there is none) and `next` (the artist). The two numbers are one block of bytes.
    `pickletools.genops` reads the file's instructions without following them.
    """
    try:
        blocks = [value for code, value, _ in pickletools.genops(raw.content) if code.name == "BYTEARRAY8"]
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"is truncated or no pickled data frame ({error})", where=raw.name, remedy=_REMEDY) from error
    if len(blocks) != 1 or not blocks[0] or len(blocks[0]) % 16:
        raise DataError("does not hold the block of lengths and artists", where=raw.name, remedy=_REMEDY)
    lengths, artists = np.frombuffer(blocks[0], dtype="<i8").reshape(2, -1)
    # Two rows of length 1 follow each other only where a listener begins: none before the first artist, one after it.
    begins = np.append((lengths[:-1] == 1) & (lengths[1:] == 1), False)
    if not begins[0] or (lengths < 1).any() or (artists < 0).any():
        raise DataError("holds other numbers than lengths and artists", where=raw.name, remedy=_REMEDY)
    users = np.cumsum(begins) - 1
    return list(zip(users.tolist(), artists.tolist(), strict=True))
