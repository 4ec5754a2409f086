"""All genuine interactions of a track: what poisoning is made from, checked against and measured with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from recgauntlet.core import files as paths
from recgauntlet.core.card import Split, Track
from recgauntlet.core.dataset import Catalog, Tables
from recgauntlet.core.errors import DataError
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.data import cache
from recgauntlet.data.cleaning import pc
from recgauntlet.data.examples import boundaries, catalog_of, periods, takes_of
from recgauntlet.data.fingerprint import fingerprint
from recgauntlet.data.prepare import check_fingerprint
from recgauntlet.data.takes import Takes
from recgauntlet.data.validate import validate


@dataclass(frozen=True)
class Interactions:
    """The genuine interactions of a track.

    fingerprint
        Of the track's tables.
    catalog
        The items.
    user_ids
        The ids of the users of all periods; a user is an index here.
    takes
        Who took what and when, in all periods.
    in_training
        Which rows of `takes` are of the training period (of their user, where the split is per user).
    training_end
        The first second after it; where there is no clock, the first place that occurs in none.
    has_clock
        Whether times are seconds, the same for all users, or places in each user's own order: with the split per user.
    """

    fingerprint: str
    catalog: Catalog
    user_ids: tuple[str, ...]
    takes: Takes
    in_training: BoolArray
    training_end: int
    has_clock: bool

    @cached_property
    def training(self) -> Takes:
        """What was taken in the training period."""
        return self.takes.where(self.in_training)

    @cached_property
    def training_users(self) -> int:
        """The number of users of the training period."""
        return len(np.unique(self.training.users))

    @cached_property
    def median_profile(self) -> int:
        """The median number of items of a user in the training period, rounded down."""
        return int(np.median(np.unique(self.training.users, return_counts=True)[1]))

    @cached_property
    def popularity(self) -> IntArray:
        """`[N]`: the users of each item in the training period."""
        return np.bincount(self.training.items, minlength=len(self.catalog)).astype(np.int64)


def load_interactions(task: Task, track: Track, options: SourceOptions) -> Interactions:
    """The interactions of a track: read from its source and compared with the card, or as they were kept when that was
    done before (not where a card of a user's own names no fingerprint).

    Raises
    ------
    CardError, DataError
        Where the source cannot be read, is not the card's, or has impressions instead of interactions; where the kept
        file is damaged or was changed.
    OutputError
        Where the cache cannot be written.
    """
    card = task.card.track(track)
    kept = None
    if card.fingerprint:
        name = f"{task.card.id}-{track}-interactions"
        kept = cache.place(paths.prepared(options.cache), name, card.split.model_dump_json(), card.fingerprint)
        if kept.exists():
            return _load(kept)
    tables = task.load(task.card, track, options)
    where = f"{task.card.id} ({track})"
    validate(tables, where)
    found = fingerprint(tables)
    check_fingerprint(card, found, where)
    read = interactions_of(tables, card.split, found.sha256, where)
    if kept is not None:
        cache.write_archive(_arrays(read), kept)
    return read


def interactions_of(tables: Tables, split: Split, fingerprint: str, where: str) -> Interactions:
    """The interactions of checked tables; DataError where these are impressions."""
    if tables.interactions is None:
        raise DataError(
            "has impressions, to which no fake account can be added",
            where=where,
            field="interactions",
            remedy="choose a task whose data is interactions (user, item, time)",
        )
    catalog = catalog_of(tables.items)
    users = pc.unique(tables.interactions["user"]).sort()
    takes = takes_of(tables.interactions, users, catalog)
    in_training, _, _ = periods(split, takes.users, takes.times, where)
    has_clock = split.rule == "time"
    end = boundaries(split, takes.times, where)[0] if has_clock else int(takes.times[in_training].max()) + 1
    return Interactions(fingerprint, catalog, tuple(users.to_pylist()), takes, in_training, end, has_clock)


def _arrays(found: Interactions) -> dict[str, Any]:
    """The arrays of a kept file, with a hash over all of them."""
    catalog, takes = found.catalog, found.takes
    arrays = {
        "meta": cache.to_bytes([found.fingerprint, found.training_end, found.has_clock, found.user_ids]),
        "catalog": cache.to_bytes([catalog.ids, catalog.texts, catalog.categories]),
        "users": takes.users,
        "items": takes.items,
        "times": takes.times,
        "in_training": found.in_training,
    }
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays.values()))
    return {**arrays, "sha256": cache.to_bytes(digest.hexdigest())}


def _load(kept: Path) -> Interactions:
    with cache.open_archive(kept) as stored:
        fingerprint, end, has_clock, user_ids = cache.from_bytes(stored["meta"])
        catalog = Catalog(*(tuple(texts) for texts in cache.from_bytes(stored["catalog"])))
        takes = Takes(stored["users"], stored["items"], stored["times"])
        in_training = stored["in_training"]
        found = Interactions(fingerprint, catalog, tuple(user_ids), takes, in_training, end, has_clock)
        expected = stored["sha256"]
    if not np.array_equal(_arrays(found)["sha256"], expected):
        raise cache.changed(kept)
    return found
