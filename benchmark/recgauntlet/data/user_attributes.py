"""What a data set records of a track's users, by their indices: read for fairness, kept beside the prepared data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recgauntlet.core import files as paths
from recgauntlet.core.card import Track
from recgauntlet.core.dataset import AttributeName, Tables, TaskData, UserAttribute
from recgauntlet.core.errors import DataError
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.core.types import IntArray
from recgauntlet.data import cache
from recgauntlet.data.cleaning import pc
from recgauntlet.data.fingerprint import fingerprint

_MOST_LABELS, _LONGEST_LABEL = 10, 40


@dataclass(frozen=True)
class UserCodes:
    """An attribute of the users: its groups in words, and `codes [U]`, the place in `labels` of each user index; -1
    where the data set does not say."""

    name: AttributeName
    labels: tuple[str, ...]
    codes: IntArray


def user_attributes(task: Task, track: Track, data: TaskData, options: SourceOptions) -> tuple[UserCodes, ...]:
    """The attributes of the users of `data`, the prepared track; nothing where the task or the source at hand has none.

    They are read from the source once and kept in the cache until the card's version changes; `data` stays as it is.

    Raises
    ------
    DataError
        Where the source cannot be read or is not that of `data`, an attribute has a name twice or labels that cannot
        be, or the kept file is damaged or was changed.
    OutputError
        Where the cache cannot be written.
    """
    if task.user_attributes is None:
        return ()
    name = f"{task.card.id}-{track}-users"
    kept = cache.place(paths.prepared(options.cache), name, str(task.card.version), data.fingerprint)
    if kept.exists():
        return _load(kept)
    where = f"{task.card.id} ({track})"
    found = task.user_attributes(options)
    for one in found:
        _check(one, where)
    if not found:
        return ()
    if len({one.name for one in found}) != len(found):
        raise _wrong("has one attribute twice", where)
    tables = task.load(task.card, track, options)
    if fingerprint(tables).sha256 != data.fingerprint:
        raise _wrong("has other tables than the prepared data", where)
    ids = _user_ids(tables)
    codes = tuple(
        UserCodes(one.name, one.labels, np.array([one.of_user.get(user, -1) for user in ids], dtype=np.int64))
        for one in found
    )
    cache.write_archive(_arrays(codes), kept)
    return codes


def _user_ids(tables: Tables) -> list[str]:
    """The ids of the users in the order of their indices in the prepared data."""
    rows = tables.interactions if tables.interactions is not None else tables.impressions
    assert rows is not None  # a task has one of them
    ids: list[str] = pc.unique(rows["user"]).sort().to_pylist()
    return ids


def _check(one: UserAttribute, where: str) -> None:
    lengths = {len(label) for label in one.labels}
    if not 2 <= len(one.labels) <= _MOST_LABELS or not 0 < min(lengths) <= max(lengths) <= _LONGEST_LABEL:
        raise _wrong(
            f"has {one.name} with labels that are not 2 to 10, each of 1 to {_LONGEST_LABEL} characters", where
        )
    if len(set(one.labels)) != len(one.labels) or not set(one.of_user.values()) <= set(range(len(one.labels))):
        raise _wrong(f"has {one.name} with a label twice, or a user whose group is no place in the labels", where)


def _wrong(problem: str, where: str) -> DataError:
    remedy = (
        "mend `user_attributes` of the task (docs/extend/task.md), or fetch the data again (recgauntlet data fetch)"
    )
    return DataError(problem, where=where, field="user_attributes", remedy=remedy)


def _arrays(found: tuple[UserCodes, ...]) -> dict[str, Any]:
    """The arrays of a kept file, with a hash over all of them."""
    arrays = {"meta": cache.to_bytes([[one.name, one.labels] for one in found])}
    arrays |= {one.name: one.codes for one in found}
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values()))
    return {**arrays, "sha256": cache.to_bytes(digest.hexdigest())}


def _load(kept: Path) -> tuple[UserCodes, ...]:
    with cache.open_archive(kept) as stored:
        named = cache.from_bytes(stored["meta"])
        found = tuple(UserCodes(name, tuple(labels), stored[name]) for name, labels in named)
        expected = stored["sha256"]
    if not np.array_equal(_arrays(found)["sha256"], expected):
        raise cache.changed(kept)
    return found
