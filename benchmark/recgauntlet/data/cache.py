"""The cache of prepared tracks: NumPy archives without pickled objects, checked when they are read."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from recgauntlet.core.dataset import AdLists, Catalog, Impressions, Pairs, Taken, TaskData
from recgauntlet.core.errors import DataError, OutputError
from recgauntlet.core.files import write_atomically

FORMAT = 3
"""Raise it whenever the same card and tables are prepared or stored differently: older files are then not used."""
_OPTIONAL: dict[str, type[AdLists] | type[Impressions] | type[Taken]] = {
    "valid_ads": AdLists,
    "test_ads": AdLists,
    "popular_impressions": Impressions,
    "taken": Taken,
}
"""Parts that depend on the card. They belong to the evaluation: training does not read them."""
_REMEDY = "delete the file; the next run prepares it again"


def place(root: Path, name: str, card: str, data: str) -> Path:
    """The file of a prepared track; its name depends on the fingerprints of the `card` and of the `data`."""
    key = hashlib.sha256(f"{FORMAT}|{card}|{data}".encode()).hexdigest()
    return root / f"{name}-{key[:24]}.npz"


def save(data: TaskData, target: Path) -> None:
    """Write `data` to `target`, all of it or nothing.

    Raises
    ------
    OutputError
        Where the cache cannot be written.
    """
    catalog = data.catalog
    arrays = {
        "meta": to_bytes([data.fingerprint, data.user_count, content_hash(data)]),
        "catalog": to_bytes([catalog.ids, catalog.texts, catalog.categories]),
        **{f"{part}.{name}": getattr(getattr(data, part), name) for part, name in _columns(data)},
    }
    write_archive(arrays, target)


def write_archive(arrays: Mapping[str, Any], target: Path) -> None:
    """Write an archive of `arrays`, all of it or nothing; OutputError where the cache cannot be written."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    try:
        write_atomically(target, content.getvalue())
    except OutputError as error:
        remedy = "free some disk space, or set RECGAUNTLET_CACHE to a directory you may write to"
        raise OutputError(error.problem, where=target.parent, remedy=remedy) from error


def load(target: Path) -> TaskData | None:
    """What was saved at `target`, or None where nothing was.

    Raises
    ------
    DataError
        Where the file is damaged or was changed.
    """
    if not target.exists():
        return None
    data, expected = _read(target, training_only=False)
    if content_hash(data) != expected:
        raise changed(target)
    return data


def changed(target: Path) -> DataError:
    """The error for a file whose content is not that of its hash."""
    return DataError("the prepared data was changed since it was written", where=target, remedy=_REMEDY)


def load_training(target: Path) -> TaskData:
    """What was saved at `target`, with empty test pairs and impressions, without ads, popular candidates and what users
    ever took: no label of a test is read.

    Raises
    ------
    DataError
        Where the file is missing or damaged. The hash of the content is checked by `load` alone.
    """
    return _read(target, training_only=True)[0]


def content_hash(data: TaskData) -> str:
    """SHA-256 over everything in `data`."""
    digest = hashlib.sha256(f"{data.fingerprint} {data.user_count}".encode())
    for texts in (data.catalog.ids, data.catalog.texts, data.catalog.categories):
        digest.update(json.dumps(texts).encode())
    for part, name in _columns(data):
        digest.update(np.ascontiguousarray(getattr(getattr(data, part), name), dtype="<i8").tobytes())
    return digest.hexdigest()


def _read(target: Path, *, training_only: bool) -> tuple[TaskData, str]:
    """The data, and the hash that its content had when it was written."""
    with open_archive(target) as stored:
        fingerprint, user_count, expected = from_bytes(stored["meta"])
        catalog = Catalog(*(tuple(texts) for texts in from_bytes(stored["catalog"])))
        train, valid = (_part(Pairs, part, stored) for part in ("train", "valid"))
        if training_only:
            test = train.select(slice(0))
            none, offsets = test.users, np.zeros(1, dtype=np.int64)
            impressions = Impressions(none, test.histories, none, none.astype(np.bool_), offsets)
        else:
            test, impressions = _part(Pairs, "test", stored), _part(Impressions, "impressions", stored)
        optional = {
            part: _part(kind, part, stored)
            for part, kind in _OPTIONAL.items()
            if not training_only and f"{part}.items" in stored
        }
        return TaskData(fingerprint, catalog, user_count, train, valid, test, impressions, **optional), expected


@contextmanager
def open_archive(target: Path) -> Iterator[Any]:
    """The arrays at `target` by their names; DataError where the file, or what is made of it in the block, is
    damaged."""
    try:
        # An archive reads the arrays that are asked for, and no others.
        with target.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            yield stored
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"the prepared data is damaged ({type(error).__name__})", where=target, remedy=_REMEDY
        ) from error


def _columns(data: TaskData) -> list[tuple[str, str]]:
    """Every part of the data with arrays, and the name of each array."""
    pairs = [(part, field.name) for part in ("train", "valid", "test") for field in fields(Pairs)]
    lists = [("impressions", field.name) for field in fields(Impressions)]
    there = {part: kind for part, kind in _OPTIONAL.items() if getattr(data, part) is not None}
    return pairs + lists + [(part, field.name) for part, kind in there.items() for field in fields(kind)]


def _part(kind: Any, name: str, stored: Any) -> Any:
    return kind(**{field.name: stored[f"{name}.{field.name}"] for field in fields(kind)})


def to_bytes(value: object) -> Any:
    """A JSON value as an array of bytes."""
    return np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)


def from_bytes(array: Any) -> Any:
    """What `to_bytes` made an array of."""
    return json.loads(array.tobytes())
