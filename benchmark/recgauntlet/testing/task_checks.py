"""Checks of a task: a complete card, offline data, a stable fingerprint, no leaks of the future."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from unittest import mock

import numpy as np

from recgauntlet.core.card import TaskCard, Track, TrackCard
from recgauntlet.core.dataset import Pairs, Tables, TaskData
from recgauntlet.core.errors import DataError
from recgauntlet.core.files import cache_root
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.core.types import PAD, BoolArray, IntArray
from recgauntlet.data.cleaning import first_takes
from recgauntlet.data.examples import periods
from recgauntlet.data.fingerprint import fingerprint
from recgauntlet.data.prepare import build
from recgauntlet.data.validate import validate
from recgauntlet.testing.check import CheckSkipped, ConformanceError, Subject, require, require_nothing_left, rule
from recgauntlet.testing.popular_list import popular_list
from recgauntlet.testing.process import scramble

MOST_ROWS = 100_000
"""A demo track that is larger than this is no demonstration."""
MOST_LEAKED = 0.05
"""Share of the examples that may look like a leak by chance."""
LONG = 3
"""Items that a history must have for two equal ones to be no chance."""


class TaskSubject(Subject[Task]):
    """A task under test: its small track, loaded from what is on this machine, and made into examples."""

    @cached_property
    def attempts(self) -> list[str]:
        """Connections that the loader tried to open."""
        return []

    @property
    def track(self) -> Track:
        """The demo track, where there is one: small, and meant for this."""
        return "demo" if "demo" in self.plugin.card.tracks else "standard"

    @property
    def card(self) -> TrackCard:
        """The card of the track."""
        return self.plugin.card.track(self.track)

    @property
    def where(self) -> str:
        """What errors call it."""
        return self.name or self.plugin.card.id

    def load(self) -> Tables:
        """The tables, read offline with what the user's cache holds of downloads."""
        options = SourceOptions(directory=None, cache=cache_root(), offline=True)
        with no_connections(self.attempts):
            return self.plugin.load(self.plugin.card, self.track, options)

    @cached_property
    def tables(self) -> Tables:
        """The tables; CheckSkipped where they cannot be had (the check `offline` says why)."""
        try:
            tables = self.load()
        except Exception as error:
            raise CheckSkipped(f"the {self.track} data could not be loaded (see offline)") from error
        return tables

    @cached_property
    def valid_tables(self) -> Tables:
        """The tables; CheckSkipped where they break the rules of tables (the check `tables` says which)."""
        tables = self.tables
        try:
            validate(tables, self.where)
        except Exception as error:
            raise CheckSkipped("the tables break the rules (see tables)") from error
        return tables

    @cached_property
    def data(self) -> TaskData:
        """The examples; CheckSkipped where they cannot be made (the check `examples` says why)."""
        tables = self.valid_tables
        try:
            return build(self.card, tables, "0" * 64, self.where)
        except Exception as error:
            raise CheckSkipped("no examples could be made of the tables (see examples)") from error


@contextmanager
def no_connections(attempts: list[str]) -> Iterator[None]:
    """Every connection fails and is noted."""

    def refused(*address: object, **named: object) -> None:
        attempts.append(str(address[1:] if address and isinstance(address[0], socket.socket) else address))
        raise OSError("a conformance check opens no connection")

    with (
        mock.patch.object(socket.socket, "connect", refused),
        mock.patch.object(socket.socket, "connect_ex", refused),
        mock.patch.object(socket, "create_connection", refused),
        mock.patch.object(socket, "getaddrinfo", refused),
    ):
        yield


@rule("see docs/extend/task.md for the card, field by field", needs_run=False)
def card(subject: TaskSubject) -> str:
    """The id is the registered name; metrics, threats, a demo track, and one ranked threat."""
    task: Any = subject.plugin
    require(
        isinstance(task, Task) and isinstance(getattr(task, "card", None), TaskCard) and callable(task.load),
        f"the entry point names {type(task).__name__}",
        "let it name an object Task(load_card(path), load)",
    )
    require(
        subject.name in ("", task.card.id),
        f"the card's id is {task.card.id!r}, it is registered as {subject.name!r}",
        "write the registered name on the card: id = ...",
    )
    require("demo" in task.card.tracks, "there is no demo track", "add tracks.demo: small, offline, never ranked")
    require(bool(task.card.metrics), "there are no metrics", 'write metrics = ["accuracy", "auc", ...]')
    require(bool(task.card.threats), "there is no threat", "add [[threats]]: what may be touched, and how much of it")
    require(
        any(threat.ranked for threat in task.card.threats),
        "no threat is ranked: no row could ever have a rank",
        "set ranked = true on the threat that the task is about",
    )
    blank = [name for name in ("title", "question", "description", "clicked") if not getattr(task.card, name).strip()]
    require(not blank, f"{', '.join(blank)} is empty", "fill it in: the page shows it")
    return f"version {task.card.version}, threats: {', '.join(threat.id for threat in task.card.threats)}"


@rule("fill in [tracks.NAME.source]", needs_run=False)
def licence(subject: TaskSubject) -> str:
    """Every track names source, address, licence and BibTeX; every threat names the source of its budget."""
    for name, track in subject.plugin.card.tracks.items():
        source = track.source
        for field in ("name", "licence"):
            require(
                bool(getattr(source, field).strip()),
                f"tracks.{name}.source.{field} is empty",
                "say whose data it is and what may be done with it",
            )
        require(
            re.match(r"https?://\S+$", source.url) is not None,
            f"tracks.{name}.source.url is {source.url!r}",
            "give the address of the data's own page",
        )
        require(
            re.match(r"\s*@\w+\s*\{[^,\s]+,.*\}\s*$", source.citation, flags=re.DOTALL) is not None,
            f"tracks.{name}.source.citation is no BibTeX entry",
            "write citation = '@misc{key, title = {...}, ...}'",
        )
    silent = [threat.id for threat in subject.plugin.card.threats if not threat.source.strip()]
    require(not silent, f"the source of {', '.join(silent)} is empty", 'write source = "ours" for decisions of yours')
    return "; ".join(f"{name}: {track.source.licence}" for name, track in subject.plugin.card.tracks.items())


@rule("raise DataError where the data are not there, and open no connection", needs_run=False)
def offline(subject: TaskSubject) -> str:
    """The demo track loads without a connection; skipped if it was never fetched."""
    try:
        found: Any = subject.load()
    except DataError as error:
        found = error
    require(
        not subject.attempts,
        f"offline, the loader tried to connect to {', '.join(sorted(set(subject.attempts))[:2])}",
        "look at options.offline before you open a connection",
    )
    if isinstance(found, DataError):
        raise CheckSkipped(
            f"the {subject.track} data are not here ({found.problem.splitlines()[0]}): "
            f"recgauntlet data fetch {subject.name} --track {subject.track}"
        )
    require(isinstance(found, Tables), f"load gives {type(found).__name__}", "return recgauntlet.Tables")
    rows = max(len(table) for table in (found.interactions, found.impressions) if table is not None)
    require(
        subject.track != "demo" or rows <= MOST_ROWS,
        f"the demo track has {rows:,} rows",
        f"take a sample: at most {MOST_ROWS:,} rows",
    )
    return f"{len(found.items):,} items, {rows:,} rows"


@rule("see docs/extend/task.md for the tables", needs_run=False)
def tables(subject: TaskSubject) -> None:
    """Columns and types, unique ids, texts not empty, known items, times in seconds."""
    try:
        validate(subject.tables, subject.where)
    except DataError as error:
        raise ConformanceError(str(error).splitlines()[0], error.remedy) from error


@rule("let the loader depend on the card alone", needs_run=False)
def fingerprint_(subject: TaskSubject) -> None:
    """Loaded twice with other random states, the tables have the fingerprint on the card."""
    first = fingerprint(subject.valid_tables).sha256
    scramble(1)
    second = fingerprint(subject.load()).sha256
    require(
        first == second,
        "loaded twice, the tables have two fingerprints",
        "draw with recgauntlet.Randomness, and never from the clock or an unseeded generator",
    )
    written = subject.card.fingerprint
    require(
        written == first,
        f"the card's fingerprint is {written or 'empty'}",
        f'write fingerprint = "{first}" below [tracks.{subject.track}], and a new version if the old one was published',
    )


@rule("change the sizes on the card, or the tables", needs_run=False)
def examples(subject: TaskSubject) -> str:
    """As many examples as the card states, indices of the catalog, two candidates per pair, padding in front,
    clicked and unclicked candidates in every impression. Where the card asks for candidates drawn by popularity: the
    same clicks among as many of them, which the user never took and others did in the training period.
    """
    tables = subject.valid_tables
    try:
        data = build(subject.card, tables, "0" * 64, subject.where)
    except Exception as error:
        raise ConformanceError(f"no examples can be made: {error}", getattr(error, "remedy", "")) from error
    sizes = {"train": subject.card.train_pairs, "valid": subject.card.valid_pairs, "test": subject.card.test_pairs}
    for part, wanted in sizes.items():
        pairs: Pairs = getattr(data, part)
        require(len(pairs) == wanted, f"{part} has {len(pairs)} pairs, the card says {wanted}")
        require(
            pairs.histories.shape == (wanted, subject.card.history_length),
            f"the histories of {part} have the shape {pairs.histories.shape}",
        )
        for field in ("clicked", "unclicked"):
            values = getattr(pairs, field)
            require(bool(((values >= 0) & (values < len(data.catalog))).all()), f"{part}.{field} leaves the catalog")
        same = int((pairs.clicked == pairs.unclicked).sum())
        require(
            same == 0,
            f"in {same} pairs of {part} the clicked and the unclicked candidate are one item",
            "an item is shown once in an impression: clicked or not",
        )
        there = pairs.histories != PAD
        require(
            bool((there[:, 1:] >= there[:, :-1]).all() and there[:, -1].all()),
            f"histories of {part} have padding behind items, or are empty",
        )
    shown = data.impressions
    clicks = np.add.reduceat(shown.labels.astype(np.int64), shown.offsets[:-1])
    require(
        len(shown) == subject.card.test_impressions and bool(((clicks > 0) & (clicks < np.diff(shown.offsets))).all()),
        "impressions lack a clicked or an unclicked candidate, or are not as many as the card says",
    )
    also = popular_list(subject.card, data, tables)
    return f"{len(data.train)} / {len(data.valid)} / {len(data.test)} pairs, {len(shown)} impressions{also}"


@rule("let everything about an example lie before it", needs_run=False)
def no_leakage(subject: TaskSubject) -> None:
    """No click is in its own history, no training history holds items taken only in the test period, no test
    example is a training example.
    """
    data = subject.data
    for part in ("train", "test"):
        pairs: Pairs = getattr(data, part)
        own, other = _holds(pairs, pairs.clicked), _holds(pairs, pairs.unclicked)
        require(
            own.mean() - other.mean() <= MOST_LEAKED,
            f"in {own.mean():.0%} of the {part} pairs the clicked item stands in its own history "
            f"({other.mean():.0%} for the unclicked)",
            "let a history end before its click",
        )
    late = _first_taken_late(subject)
    held = np.array(
        [bool(late.get(int(user), set()) & set(row.tolist())) for user, row in _rows(data.train)], dtype=np.bool_
    )
    require(
        held.mean() <= MOST_LEAKED,
        f"{held.mean():.0%} of the training histories hold items that the user took only in the test period",
        "give every impression the history as it was then, not the user's whole history",
    )
    long = (data.test.histories != PAD).sum(axis=1) >= LONG
    trained = {(*row.tolist(), int(item)) for row, item in zip(data.train.histories, data.train.clicked, strict=True)}
    twice = np.array(
        [
            (*row.tolist(), int(item)) in trained
            for row, item in zip(data.test.histories[long], data.test.clicked[long], strict=True)
        ],
        dtype=np.bool_,
    )
    share = float(twice.mean()) if len(twice) else 0.0
    require(
        share <= MOST_LEAKED,
        f"{share:.0%} of the test examples with at least {LONG} items of history are training examples too",
        "drop copied rows and users before the split",
    )


def _holds(pairs: Pairs, items: IntArray) -> BoolArray:
    found: BoolArray = (pairs.histories == items[:, None]).any(axis=1)
    return found


def _rows(pairs: Pairs) -> list[tuple[int, IntArray]]:
    return list(zip(pairs.users.tolist(), pairs.histories, strict=True))


def _first_taken_late(subject: TaskSubject) -> dict[int, set[int]]:
    """By user index: the items that the user took in the test period and never before."""
    tables = subject.valid_tables
    table = first_takes(tables.interactions) if tables.interactions is not None else tables.impressions
    assert table is not None  # valid tables have one of them
    place = {item: index for index, item in enumerate(subject.data.catalog.ids)}
    number = {user: index for index, user in enumerate(sorted(set(table["user"].to_pylist())))}
    users = np.array([number[user] for user in table["user"].to_pylist()], dtype=np.int64)
    _, _, in_test = periods(subject.card.split, users, table["time"].to_numpy(), subject.where)
    early: dict[int, set[int]] = {}
    late: dict[int, set[int]] = {}
    for row, is_test in zip(table.to_pylist(), in_test, strict=True):
        taken = [row["item"]] if "item" in row else [i for i, c in zip(row["shown"], row["clicked"], strict=True) if c]
        kept = late if is_test else early
        kept.setdefault(number[row["user"]], set()).update(place[item] for item in taken)
    return {user: items - early.get(user, set()) for user, items in late.items()}


@rule("close files and pools, put settings back, and write below options.cache alone", needs_run=False)
def leaves_nothing(subject: TaskSubject) -> None:
    """Settings, threads and open files are unchanged afterwards; files are written in the cache only."""
    _ = subject.tables  # skipped where they cannot be had
    require_nothing_left(subject.load)
