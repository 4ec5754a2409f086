"""Records and rows for thousands of records: by all cores, and without doing again what did not change.

What comes out is what `read_records` and `build_table` make by themselves, to the last bit, but that records are
unopened (`recgauntlet.leaderboard.unopened`). An entry is found by the bytes that a file has now, never by its name
or date: so a
file that was touched in any way is read and checked anew.

To read a record is half of the work, so a row is made while its records are open, where they lie side by side as
`recgauntlet run` leaves them. Whether that was the row that is wanted is found out later; where not, it is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.build import build_table, draft_tables
from recgauntlet.leaderboard.crew import Crew
from recgauntlet.leaderboard.garbage import without_collections
from recgauntlet.leaderboard.kept import Entry, Kept
from recgauntlet.leaderboard.outline import Outline
from recgauntlet.leaderboard.row_making import RowOrder, make_row
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.leaderboard.unopened import LEFT_OUT, Origin, Shelf, UnopenedRecord
from recgauntlet.records.best_known import BestKnown
from recgauntlet.records.columns import Columns
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.io import Found, Results, read_records
from recgauntlet.records.places import Place
from recgauntlet.records.schema import RunRecord

_WORTH = 64
"""Records from which on it is worth to start processes."""
_MOST = 16
"""Files of one name that are held open together."""


class Workshop:
    """Reads records and makes tables, with a `crew` and with what is `kept` from former times (None: nothing).

    `meanwhile` is called while others read, whenever they do; so it should be quick the second time.
    """

    def __init__(self, crew: Crew, kept: Kept | None, *, meanwhile: Callable[[], None] | None = None) -> None:
        self._crew = crew
        self._kept = kept
        self._meanwhile = meanwhile
        self._shelf = Shelf()
        self._made: dict[str, tuple[bytes, Row]] = {}

    def read(self, directory: Path) -> Results:
        """As `recgauntlet.records.io.read_records`."""
        return read_records(directory, self._read)

    def tables(self, records: Sequence[RunRecord]) -> tuple[TaskTable, ...]:
        """As `recgauntlet.leaderboard.build.build_table`."""
        with without_collections():
            return build_table(records, self.rows)

    def rows(self, orders: Sequence[RowOrder]) -> list[Row]:
        """As `recgauntlet.leaderboard.row_making.make_rows`."""
        names = [_name(order) for order in orders]
        rows = {name: row for name, order in zip(names, orders, strict=True) if (row := self._known_row(name, order))}
        tasks = {
            name: _Task(tuple(map(_source, order.finished)), replace(order, finished=()))
            for name, order in zip(names, orders, strict=True)
            if name not in rows
        }
        worth = sum(len(task.records) for task in tasks.values()) >= _WORTH
        texts = self._crew.map(_make, list(tasks.values()), worth=worth)
        rows |= {name: self._row(name, text, _row(text)) for name, text in zip(tasks, texts, strict=True)}
        return [rows[name] for name in names]

    def _row(self, name: str, text: bytes, row: Row) -> Row:
        if self._kept is not None:
            self._kept.keep(_KeptRow, text, name)
        return row

    def _known_row(self, name: str, order: RowOrder) -> Row | None:
        if name in self._made:
            return self._row(name, *self._made[name])
        known = None if self._kept is None else self._kept.find(_KeptRow, name)
        if known is None or [source.digest for source in known.row.sources] != [one.digest for one in order.finished]:
            return None
        return known.row

    def _read(self, places: Sequence[Place]) -> list[Found]:
        with without_collections():
            return self._found(places)

    def _found(self, places: Sequence[Place]) -> list[Found]:
        found: dict[int, Found] = {}
        groups: list[_Group] = []
        for side_by_side in _side_by_side(places):
            known = {number: self._known_record(places[number]) for number in side_by_side}
            found |= {number: one for number, one in known.items() if one is not None}
            new = tuple(number for number in side_by_side if number not in found)
            if new:
                groups.append(_Group(new, tuple(places[number] for number in new), len(new) == len(known)))
        worth = sum(len(group.places) for group in groups) >= _WORTH
        looked = self._crew.map(_look, groups, worth=worth)
        if worth and self._meanwhile is not None:
            self._meanwhile()
        for group, (seen, rows) in zip(groups, looked, strict=True):
            self._made |= {name: (text, _row(text)) for name, text in rows.items()}  # while others are at the next
            for number, one in zip(group.numbers, seen, strict=True):
                found[number] = self._unopened(one) if isinstance(one, _Seen) else one
        return [found[number] for number in range(len(places))]

    def _known_record(self, place: Place) -> Found | None:
        """What was found before in the very bytes that lie at `place` now."""
        if not self._kept:
            return None
        try:
            origin = Origin(place, place.sum(place.content()))
        except RecordError as error:
            return error
        known = self._kept.find(_KeptRecord, *_of(origin))
        return None if known is None else known.words.lying_at(origin, known.outline, self._shelf)

    def _unopened(self, seen: _Seen) -> UnopenedRecord:
        if self._kept is not None:
            self._kept.keep(_KeptRecord, seen.text, *_of(seen.origin))
        known = _KeptRecord.model_validate_json(seen.text)
        return known.words.lying_at(seen.origin, known.outline, self._shelf)


class _KeptRecord(Entry):
    """A record that was read and checked: its words, without the fields LEFT_OUT, and its outline."""

    words: UnopenedRecord
    outline: Outline

    @classmethod
    def of(cls, record: RunRecord, outline: Outline) -> _KeptRecord:
        words = {name: value for name, value in record if name not in LEFT_OUT}
        return cls.model_construct(words=UnopenedRecord.model_construct(**words), outline=outline)


class _KeptRow(Entry):
    """A row, without its rank and what best known attacks say of it."""

    row: Row


@dataclass(frozen=True)
class _Group:
    """Places that lie side by side, and the `numbers` of each; `whole` says whether they are all that do."""

    numbers: tuple[int, ...]
    places: tuple[Place, ...]
    whole: bool


@dataclass(frozen=True)
class _Seen:
    """A record that was read: the text of its words and outline."""

    origin: Origin
    text: bytes


@dataclass(frozen=True)
class _Task:
    """A row to be made: where its records lie (or those that lie in no file of their own), and the rest of its
    order."""

    records: tuple[Origin | RunRecord, ...]
    rest: RowOrder


def _side_by_side(places: Sequence[Place]) -> Iterator[list[int]]:
    """The numbers of places whose files are in one directory and of one name but for the digits at its end, such as the
    seeds of a row."""

    def stem(number: int) -> tuple[Path, str]:
        path = places[number].path
        return path.parent, path.name.partition(".")[0].rstrip("0123456789")

    for _, numbers in groupby(range(len(places)), stem):
        group = list(numbers)
        if len(group) <= _MOST:
            yield group
        else:
            yield from ([number] for number in group)


def _look(group: _Group) -> tuple[list[_Seen | BestKnown | RecordError], dict[str, bytes]]:
    """What each place of a group holds, and the rows by their names that its records make."""
    found: list[_Seen | BestKnown | RecordError] = []
    outlined: dict[str, tuple[RunRecord, Outline]] = {}
    sums: dict[str, str] = {}
    columns = Columns()
    for place in group.places:
        try:
            content = place.content()
            one = place.parsed(content, columns)
            if isinstance(one, BestKnown):
                found.append(one)
                continue
            outline = Outline.of(one)
            text = _KeptRecord.of(one, outline).text()
        except RecordError as error:
            found.append(error)
            continue
        origin = Origin(place, place.sum(content))
        found.append(_Seen(origin, text))
        outlined[one.digest], sums[one.digest] = (one, outline), origin.sum
    whole = group.whole and len(outlined) > 1
    drafts = draft_tables(list(outlined.values())) if whole else []
    orders = [order for draft in drafts for order in draft.orders]
    return found, {_name(order, sums): _text(make_row(order, columns)) for order in orders}


def _make(task: _Task) -> bytes:
    records = tuple(one.read() if isinstance(one, Origin) else one for one in task.records)
    return _text(make_row(replace(task.rest, finished=records)))


def _row(text: bytes) -> Row:
    return _KeptRow.model_validate_json(text).row


def _text(row: Row) -> bytes:
    return _KeptRow.model_construct(row=row).text()


def _of(origin: Origin) -> tuple[object, ...]:
    """What a record is kept under. One that a manifest vouches for was not checked as others are."""
    return origin.sum, origin.place.frozen is not None


def _source(record: RunRecord) -> Origin | RunRecord:
    return record.origin if isinstance(record, UnopenedRecord) else record


def _name(order: RowOrder, sums: Mapping[str, str] | None = None) -> str:
    """The name of a row: a hash of all that it depends on, its records by the bytes that they were read from. `sums`
    has those of whole records, by their digests."""
    known = {} if sums is None else sums
    records = [known.get(record.digest) or _sum_of(record) for record in order.finished]
    threats = [(column.id, column.ranked) for column in order.threats]
    parts = (records, order.lost, order.doubled, threats, order.ranked)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _sum_of(record: RunRecord) -> str:
    if isinstance(record, UnopenedRecord):
        return record.origin.sum
    return "content " + hashlib.sha256(to_bytes(record)).hexdigest()
