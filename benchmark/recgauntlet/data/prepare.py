"""Preparing a track: tables loaded, checked against the card, made into examples, and kept for the next start."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from recgauntlet.core import files as paths
from recgauntlet.core.card import TaskCard, Track, TrackCard
from recgauntlet.core.dataset import Tables, TaskData
from recgauntlet.core.errors import CardError, DataError
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.data import cache as store
from recgauntlet.data.ads import with_ads
from recgauntlet.data.examples import from_impressions, from_interactions
from recgauntlet.data.fingerprint import DataPrint, fingerprint
from recgauntlet.data.synonyms import make_ready
from recgauntlet.data.validate import validate


def prepare(
    task: Task,
    track: Track,
    options: SourceOptions,
    *,
    progress: Callable[[str, int, int], None] = lambda step, number, steps: None,
) -> TaskData:
    """The data of one track, from the cache where it was prepared before (then no source is opened).

    `progress` is called with what begins, its number and the number of steps, as in ("reading the data", 1, 4).

    Raises
    ------
    CardError
        Where the task has no such track, or its rules contradict its data.
    DataError
        Where no source could be read, or the tables are not those of the card: the message says which differ.
    OutputError
        Where the cache cannot be written.
    """
    card = task.card.track(track)
    _words_ready(task.card, options)
    kept = prepared_at(task.card, track, options.cache)
    if kept is not None and (data := store.load(kept)) is not None:
        return data
    progress("reading the data", 1, 4)
    tables = task.load(task.card, track, options)
    where = f"{task.card.id} ({track})"
    progress("checking the tables", 2, 4)
    validate(tables, where)
    found = fingerprint(tables)
    check_fingerprint(card, found, where)
    target = place(task.card, track, found.sha256, options.cache)
    if kept is None and (data := store.load(target)) is not None:
        return data
    progress("drawing the examples", 3, 4)
    data = build(card, tables, found.sha256, where)
    if task.card.ads is not None:
        data = with_ads(data, task.card.ads, track, card, tables, where)
    progress("keeping them for the next start", 4, 4)
    store.save(data, target)
    return data


def ready(task: Task, track: Track, options: SourceOptions) -> Path:
    """Where the prepared track lies, after preparing it where it was not; raises as `prepare`."""
    _words_ready(task.card, options)
    kept = prepared_at(task.card, track, options.cache)
    if kept is not None and kept.exists():
        return kept
    return place(task.card, track, prepare(task, track, options).fingerprint, options.cache)


def _words_ready(card: TaskCard, options: SourceOptions) -> None:
    """Fetch WordNet where a threat needs it: no cell could, behind its fence."""
    if card.uses_synonyms():
        make_ready(options.cache, offline=options.offline)


def prepared_at(card: TaskCard, track: Track, cache: Path) -> Path | None:
    """Where the prepared track lies or would lie under `cache`; None where the card names no fingerprint."""
    named = card.track(track).fingerprint
    return place(card, track, named, cache) if named else None


def place(card: TaskCard, track: Track, data: str, cache: Path) -> Path:
    """Where a track lies under `cache` whose tables have the fingerprint `data`."""
    return store.place(paths.prepared(cache), f"{card.id}-{track}", card.fingerprint(track), data)


def check_fingerprint(card: TrackCard, found: DataPrint, where: str) -> None:
    """DataError, naming the tables that differ, unless the tables are those of the card."""
    if not card.fingerprint or found.sha256 == card.fingerprint:
        return
    differing = []
    for name, expected in card.tables.items():
        table = found.tables.get(name)
        if table is not None and (expected.rows, expected.sha256) != (table.rows, table.sha256):
            other = f"where the card has {expected.rows}"
            how = "as on the card, but other values" if table.rows == expected.rows else other
            differing.append(f"{name} ({table.rows} rows {how})")
    raise DataError(
        f"the tables are not those of the card: {', '.join(differing) or 'the card does not say which'} differ",
        where=where,
        field="fingerprint",
        remedy="this is another version of the data, or a changed file: fetch the original again "
        "(recgauntlet data fetch), or bring your own as a task of its own (docs/extend/task.md). If the card "
        f'and the change are yours, write fingerprint = "{found.sha256}"',
    )


def build(card: TrackCard, tables: Tables, data_fingerprint: str, where: str) -> TaskData:
    """The examples of a track from its checked tables."""
    rule = card.negatives.rule
    if tables.impressions is not None and card.split.rule == "per-user":
        raise CardError(
            'the rule "per-user" contradicts the data, which has impressions',
            where=where,
            field="split.rule",
            remedy='leave split.rule out and split by time: "per-user" is for data with interactions',
        )
    if tables.impressions is not None and rule == "impression":
        return from_impressions(tables.items, tables.impressions, card, data_fingerprint, where)
    if tables.interactions is not None and rule == "uniform-unseen":
        return from_interactions(tables.items, tables.interactions, card, data_fingerprint, where)
    has = "impressions" if tables.impressions is not None else "interactions"
    raise CardError(
        f'the rule "{rule}" contradicts the data, which has {has}',
        where=where,
        field="negatives.rule",
        remedy='write "impression" for data with impressions, "uniform-unseen" for data with interactions',
    )


def item_vectors(
    data: TaskData, *, cache: Path | None = None, progress: Callable[[int], None] | None = None
) -> torch.Tensor:
    """Unit vectors `[N, 384]` of the catalog's texts in the frozen encoder, kept under `cache` for the next start."""
    from safetensors.torch import load, save

    from recgauntlet.core.files import write_atomically

    digest = hashlib.sha256("\n".join(data.catalog.texts).encode()).hexdigest()
    path = paths.vectors(paths.cache_root() if cache is None else cache) / f"{digest[:24]}.safetensors"
    if path.is_file():
        return load(path.read_bytes())["vectors"]
    from recgauntlet.data.encoder import sentence_vectors

    made = torch.from_numpy(np.ascontiguousarray(sentence_vectors(data.catalog.texts, progress=progress)))
    write_atomically(path, save({"vectors": made}))
    return made
