"""A release with its tables built, and the addresses of its rows: `RELEASE/TASK/MODEL/DEFENSE`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import get_args
from urllib.parse import quote, unquote

from recgauntlet.core.card import Track
from recgauntlet.core.errors import RecordError
from recgauntlet.core.names import stored
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.records.io import Results
from recgauntlet.records.manifest import MANIFEST
from recgauntlet.records.release import ROOT, find_release, open_release
from recgauntlet.records.schema import RunRecord

ID_LENGTH = 10
_GRAMMAR = "RELEASE/TASK/MODEL/DEFENSE, like 2026.5/video-watch/nrms/trades"


@dataclass(frozen=True)
class Board:
    """A release's tables and the records behind them, by digest.

    `where` is what it was opened by. `digest` is the SHA-256 of the frozen manifest; where the directory is not frozen
    (`frozen` is false), it is a hash of the digests of its records, and `date` is "".
    """

    where: str
    name: str
    directory: Path
    frozen: bool
    date: str
    digest: str
    tables: tuple[TaskTable, ...]
    records: Mapping[str, RunRecord]
    results: Results


@dataclass(frozen=True)
class RowAt:
    """A row, its table and its board."""

    board: Board
    table: TaskTable
    row: Row

    @property
    def records(self) -> tuple[RunRecord, ...]:
        """The row's records, one a seed, in order of seed."""
        return tuple(self.board.records[source.digest] for source in self.row.sources)

    @property
    def address(self) -> str:
        """What `locate` takes for this row, and for no other of its board."""
        names = (self.row.model.name, self.row.defense.name)
        here = (self.table.task, self.table.track)
        alike = sum(len(t.named(*names)) for t in self.board.tables if (t.task, t.track) == here)
        own = f"~{row_id(self.table, self.row)}" if alike > 1 else ""
        tracks = {table.track for table in self.board.tables if table.task == self.table.task}
        track = f":{self.table.track}" if self.table.track != _usual(tracks) else ""
        model, defense = (quote(name, safe=" +=@:,()") for name in names)
        return f"{self.board.where}/{self.table.task}{track}/{model}/{defense}{own}"

    @property
    def anchor(self) -> str:
        """The row's fragment on every leaderboard page."""
        return row_anchor(self.table, self.row)


@dataclass(frozen=True)
class Scope:
    """What an address names: a board and some of its rows; `row` is set where the address goes down to one."""

    board: Board
    rows: tuple[RowAt, ...]
    row: RowAt | None = None


def open_board(where: str | Path, root: Path = ROOT) -> Board:
    """The tables of the release `where`, its name or the path of its directory; RecordError as `open_release`, or where
    it holds no record."""
    release = open_release(where, root)
    records = {record.digest: record for _, record in release.results.records}
    if not records:
        remedy = "give a directory that recgauntlet run filled"
        raise RecordError("holds no record", where=release.directory, remedy=remedy)
    digest = release.digest or hashlib.sha256("\n".join(sorted(records)).encode()).hexdigest()
    date = "" if release.manifest is None else release.manifest.date
    tables = build_table(list(records.values()))
    frozen = release.manifest is not None
    return Board(str(where), release.name, release.directory, frozen, date, digest, tables, records, release.results)


def row_id(table: TaskTable, row: Row) -> str:
    """A row's permanent id: a hash of the task, data, suite and examples it was measured on, and of its
    two plugins with their versions and options; of the first test pairs alone, of how many. It does not depend on the
    seeds, nor on which other rows there are."""
    parts: tuple[object, ...] = (
        table.task,
        table.version,
        table.track,
        table.fingerprint,
        table.data_fingerprint,
        table.examples_fingerprint,
        table.suite.model_dump(),
        row.model.key.model_dump(),
        row.defense.key.model_dump(),
    )
    if row.first_pairs is not None:
        parts = (*parts, row.first_pairs.pairs)
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:ID_LENGTH]


def row_anchor(table: TaskTable, row: Row) -> str:
    """The fragment under which a page shows the row: readable, and ending in its id."""
    return "-".join((slug(table.task), table.track, slug(row.model.name), slug(row.defense.name), row_id(table, row)))


def slug(text: str) -> str:
    """`text` as a part of a file name or an anchor."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40] or "unnamed"


def locate(address: str, root: Path = ROOT) -> Scope:
    """What `address` names: `RELEASE[/TASK[/MODEL[/DEFENSE]]]`.

    RELEASE is a name or a path, which may hold slashes itself. TASK may name its track (`video-watch:demo`); the
    standard track is meant where it does not. Where rows have one name, DEFENSE ends in `~` and the beginning of the
    row's id. A slash inside a name is written `%2F`.

    Raises RecordError where nothing has that address (what is close to it is suggested), or several rows have it.
    """
    where, tail = _cut(address, root)
    return _scope(open_board(where, root), [unquote(part) for part in tail], address)


def locate_rows(*addresses: str, root: Path = ROOT) -> tuple[RowAt, ...]:
    """The one row at each address; a release that several share is read once. RecordError as `locate`, or where an
    address stops before a defense."""
    boards: dict[str, Board] = {}
    found = []
    for address in addresses:
        where, tail = _cut(address, root)
        if where not in boards:
            boards[where] = open_board(where, root)
        scope = _scope(boards[where], [unquote(part) for part in tail], address)
        if scope.row is None:
            some = [at.address for at in scope.rows[:5]]
            raise RecordError("names no single row", where=address, remedy=f"give one of its rows: {', '.join(some)}")
        found.append(scope.row)
    return tuple(found)


def _cut(address: str, root: Path) -> tuple[str, list[str]]:
    """The release and the rest of `address`: the shortest part that is a frozen release, or a directory in which
    `recgauntlet run` left the task, else the longest that is a directory."""
    pieces = address.rstrip("/").split("/")
    longest: tuple[str, list[str]] | None = None
    for count in range(min(3, len(pieces) - 1), -1, -1):
        head, tail = "/".join(pieces[: len(pieces) - count]), pieces[len(pieces) - count :]
        try:
            directory = find_release(head, root) if head else None
        except RecordError:
            continue
        if directory is None:
            continue
        task = directory / tail[0].partition(":")[0] if tail else directory
        if (directory / MANIFEST).is_file() or any((task / track).is_dir() for track in get_args(Track)):
            return head, tail
        longest = head, tail
    if longest is not None:
        return longest
    if pieces[0]:
        find_release("/".join(pieces[: max(1, len(pieces) - 3)]), root)  # raises with the reason
    raise RecordError("names no release", where=address, remedy=f"give {_GRAMMAR}")


def _scope(board: Board, tail: list[str], address: str) -> Scope:
    rows = [RowAt(board, table, row) for table in board.tables for row in table.rows]
    if not tail:
        return Scope(board, tuple(rows))
    task, _, track = tail[0].partition(":")
    rows = _kept(rows, task, [at.table.task for at in rows], "task", address)
    tracks = {at.table.track for at in rows}
    rows = _kept(rows, track or _usual(tracks), [at.table.track for at in rows], "track", address)
    if len(tail) > 1:
        rows = _kept(rows, tail[1], [at.row.model.name for at in rows], "model", address)
    if len(tail) < 3:
        return Scope(board, tuple(rows))
    name, _, own = tail[2].rpartition("~")
    if not name or tail[2] in {at.row.defense.name for at in rows}:
        name, own = tail[2], ""
    rows = _kept(rows, stored("defense", name), [at.row.defense.name for at in rows], "defense", address)
    chosen = [at for at in rows if row_id(at.table, at.row).startswith(own)]
    if len(chosen) != 1:
        raise RecordError(
            f"names {len(chosen) or 'none'} of {len(rows)} rows of that name, which differ in options or versions",
            where=address,
            remedy="give one of: " + "; ".join(f"{at.address} ({_versions(at.row)})" for at in rows),
        )
    return Scope(board, (chosen[0],), chosen[0])


def _kept(rows: list[RowAt], wanted: str, there: list[str], kind: str, address: str) -> list[RowAt]:
    kept = [at for at, name in zip(rows, there, strict=True) if name == wanted]
    if kept:
        return kept
    remedy = f"{suggestion(wanted, there)} Give {_GRAMMAR}"
    raise RecordError(f"there is no {kind} {wanted!r} here", where=address, field=kind, remedy=remedy)


def suggestion(wanted: str, there: Iterable[str]) -> str:
    """Names that are close to `wanted`, else the first of those that are there."""
    names = sorted(set(there))
    close = get_close_matches(wanted, names, n=3, cutoff=0.4)
    return f"did you mean {' or '.join(close)}?" if close else f"there are: {', '.join(names[:20]) or 'none'}"


def _usual(tracks: Iterable[str]) -> str:
    return "standard" if "standard" in tracks else "demo"


def _versions(row: Row) -> str:
    options = {**row.model.hyperparameters, **row.defense.hyperparameters}
    if row.first_pairs is not None:
        options |= {"test pairs": row.first_pairs.pairs}
    return f"{row.defense.version}; " + ", ".join(f"{name}={value}" for name, value in sorted(options.items()))
