"""The cache of prepared tracks: Arrow tables on disk, written at once or not at all, checked when read."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from recgauntlet.core.dataset import Catalog, Impressions, Pairs, TaskData
from recgauntlet.core.errors import DataError, OutputError
from recgauntlet.core.types import IntArray

FORMAT = 1
"""Rises whenever the same card and tables are prepared differently, so that what an older program left is not used."""
_META = "prepared.json"
_PAIRS = ("users", "histories", "clicked", "unclicked")


def place(root: Path, name: str, card: str, data: str) -> Path:
    """The directory of a prepared track: `name`, and what the fingerprints of its `card` and `data` begin with."""
    key = hashlib.sha256(f"{FORMAT}|{card}|{data}".encode()).hexdigest()
    return root / f"{name}-{key[:24]}"


def save(data: TaskData, target: Path) -> None:
    """Write `data` to `target`; a reader sees all of it or nothing.

    Raises
    ------
    OutputError
        Where the cache cannot be written; nothing is left behind.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            for name, table in _to_tables(data).items():
                _write(table, scratch / name)
            meta = {
                "fingerprint": data.fingerprint,
                "user_count": data.user_count,
                "content": content_hash(data),
            }
            (scratch / _META).write_text(json.dumps(meta), encoding="utf-8")
            if not target.exists():  # another process may have prepared the same meanwhile
                scratch.chmod(0o755)
                scratch.rename(target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        if (target / _META).is_file():
            return
        raise OutputError(
            f"cannot be written ({error.strerror or error})",
            where=target.parent,
            remedy="free some disk space, or set RECGAUNTLET_CACHE to a directory you may write to",
        ) from error


def load(target: Path) -> TaskData | None:
    """What was saved at `target`, or None where nothing was.

    Raises
    ------
    DataError
        Where it is damaged or was changed since.
    """
    if not target.exists():
        return None
    remedy = "delete the directory; the next run prepares it again"
    try:
        meta = json.loads((target / _META).read_text(encoding="utf-8"))
        data = _from_tables(
            {name: _read(target / name) for name in ("catalog", "train", "valid", "test", "impressions")},
            str(meta["fingerprint"]),
            int(meta["user_count"]),
        )
        intact = content_hash(data) == meta["content"]
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(
            f"the prepared data is damaged ({type(error).__name__})", where=target, remedy=remedy
        ) from error
    if not intact:
        raise DataError("the prepared data was changed since it was written", where=target, remedy=remedy)
    return data


def load_training(target: Path) -> TaskData:
    """What was saved at `target` without the test pairs and the impressions: no label of the test period is read.

    Raises
    ------
    DataError
        Where it is not there or damaged; whether it was changed is seen when all of it is loaded.
    """
    try:
        meta = json.loads((target / _META).read_text(encoding="utf-8"))
        tables = {name: _read(target / name) for name in ("catalog", "train", "valid")}
        train = _pairs_of(tables["train"])
        nobody, nothing = train.users[:0], np.zeros(0, dtype=bool)
        return TaskData(
            fingerprint=str(meta["fingerprint"]),
            catalog=_catalog_of(tables["catalog"]),
            user_count=int(meta["user_count"]),
            train=train,
            valid=_pairs_of(tables["valid"]),
            test=Pairs(nobody, train.histories[:0], nobody, nobody),
            impressions=Impressions(nobody, train.histories[:0], nobody, nothing, np.zeros(1, dtype=np.int64)),
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(
            f"the prepared data is damaged ({type(error).__name__})",
            where=target,
            remedy="delete the directory; the next run prepares it again",
        ) from error


def content_hash(data: TaskData) -> str:
    """SHA-256 over everything in `data`."""
    digest = hashlib.sha256(f"{data.fingerprint} {data.user_count}".encode())
    for texts in (data.catalog.ids, data.catalog.texts, data.catalog.categories):
        digest.update(json.dumps(texts).encode())
    for pairs in (data.train, data.valid, data.test):
        for name in _PAIRS:
            digest.update(np.ascontiguousarray(getattr(pairs, name), dtype="<i8").tobytes())
    for name in ("users", "histories", "items", "labels", "offsets"):
        digest.update(np.ascontiguousarray(getattr(data.impressions, name), dtype="<i8").tobytes())
    return digest.hexdigest()


def _write(table: pa.Table, path: Path) -> None:
    import datasets

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        datasets.Dataset(table).save_to_disk(str(path))
    finally:
        if shown:
            datasets.enable_progress_bars()


def _read(path: Path) -> pa.Table:
    import datasets

    kept = datasets.load_from_disk(str(path), keep_in_memory=True)
    if not isinstance(kept, datasets.Dataset):
        raise ValueError(f"{path.name} is no table")
    return kept.data.table.combine_chunks()


def _to_tables(data: TaskData) -> dict[str, pa.Table]:
    catalog = data.catalog
    impressions = data.impressions
    ragged = {
        "items": pa.ListArray.from_arrays(pa.array(impressions.offsets, pa.int32()), pa.array(impressions.items)),
        "labels": pa.ListArray.from_arrays(pa.array(impressions.offsets, pa.int32()), pa.array(impressions.labels)),
    }
    return {
        "catalog": pa.table(
            {"id": list(catalog.ids), "text": list(catalog.texts), "category": list(catalog.categories)}
        ),
        **{name: _pairs_table(getattr(data, name)) for name in ("train", "valid", "test")},
        "impressions": pa.table({"users": impressions.users, "histories": _matrix(impressions.histories), **ragged}),
    }


def _from_tables(tables: dict[str, pa.Table], fingerprint: str, user_count: int) -> TaskData:
    impressions = tables["impressions"]
    items = _array(impressions["items"])
    return TaskData(
        fingerprint=fingerprint,
        catalog=_catalog_of(tables["catalog"]),
        user_count=user_count,
        train=_pairs_of(tables["train"]),
        valid=_pairs_of(tables["valid"]),
        test=_pairs_of(tables["test"]),
        impressions=Impressions(
            _numbers(_array(impressions["users"])),
            _rows(impressions["histories"]),
            _numbers(items.flatten()),
            _array(impressions["labels"]).flatten().to_numpy(zero_copy_only=False),
            _numbers(items.offsets),
        ),
    )


def _catalog_of(table: pa.Table) -> Catalog:
    return Catalog(*(tuple(table[name].to_pylist()) for name in ("id", "text", "category")))


def _pairs_table(pairs: Pairs) -> pa.Table:
    return pa.table(
        {
            "users": pairs.users,
            "histories": _matrix(pairs.histories),
            "clicked": pairs.clicked,
            "unclicked": pairs.unclicked,
        }
    )


def _pairs_of(table: pa.Table) -> Pairs:
    users, clicked, unclicked = (_numbers(_array(table[name])) for name in ("users", "clicked", "unclicked"))
    return Pairs(users, _rows(table["histories"]), clicked, unclicked)


def _matrix(rows: IntArray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _numbers(array: pa.Array) -> IntArray:
    out: IntArray = array.to_numpy(zero_copy_only=False).astype(np.int64)
    return out


def _rows(column: pa.ChunkedArray) -> IntArray:
    lists = _array(column)
    return _numbers(lists.flatten()).reshape(len(lists), -1)
