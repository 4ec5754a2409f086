"""Records and rows for thousands of records: by all cores, and without doing again what did not change.

What comes out is what `read_results` and `build_table` make by themselves, to the last bit, but that records are
unopened (`recgauntlet.unopened`). An entry is found by the bytes that a file has now, never by its name or date: so a
file that was touched in any way is read and checked anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from recgauntlet.best_known import BestKnown
from recgauntlet.crew import Crew
from recgauntlet.errors import RecordError
from recgauntlet.kept import Kept, to_json
from recgauntlet.outline import Outline
from recgauntlet.places import Place
from recgauntlet.record import RunRecord
from recgauntlet.results import Found, Results, read_results
from recgauntlet.row_making import RowOrder, make_row
from recgauntlet.rows import Row, TaskTable
from recgauntlet.sealed import to_bytes
from recgauntlet.table import build_table
from recgauntlet.unopened import LEFT_OUT, Origin, Shelf, UnopenedRecord

_WORTH_READING = 64
_WORTH_MAKING = 24
"""So many records and rows take as long as it takes to start processes."""


class Workshop:
    """Reads records and makes tables, with a `crew` and with what is `kept` from former times (None: nothing)."""

    def __init__(self, crew: Crew, kept: Kept | None) -> None:
        self._crew = crew
        self._kept = kept
        self._shelf = Shelf()

    def read(self, directory: Path) -> Results:
        """As `recgauntlet.results.read_results`."""
        return read_results(directory, self._read)

    def tables(self, records: Sequence[RunRecord]) -> tuple[TaskTable, ...]:
        """As `recgauntlet.table.build_table`."""
        return build_table(records, self.rows)

    def rows(self, orders: Sequence[RowOrder]) -> list[Row]:
        """As `recgauntlet.row_making.make_rows`."""
        made: dict[int, Row] = {}
        tasks: dict[int, _Task] = {}
        for number, order in enumerate(orders):
            parts = _parts(order)
            known = self._kept and self._kept.find(_KeptRow, *parts)
            if known and [source.digest for source in known.row.sources] == [one.digest for one in order.finished]:
                made[number] = known.row
            else:
                records = tuple(one.origin if isinstance(one, UnopenedRecord) else one for one in order.finished)
                tasks[number] = _Task(records, replace(order, finished=()), parts, self._kept)
        texts = self._crew.map(_make, list(tasks.values()), worth=_WORTH_MAKING)
        made |= {n: _KeptRow.model_validate_json(text).row for n, text in zip(tasks, texts, strict=True)}
        return [made[number] for number in range(len(orders))]

    def _read(self, places: Sequence[Place]) -> list[Found]:
        found: dict[int, Found] = {}
        if self._kept is not None and self._kept.directory.is_dir():
            for number, place in enumerate(places):
                if (known := self._known(place, self._kept)) is not None:
                    found[number] = known
        looks = {number: _Look(place, self._kept) for number, place in enumerate(places) if number not in found}
        seen = self._crew.map(_look, list(looks.values()), worth=_WORTH_READING)
        for number, one in zip(looks, seen, strict=True):
            found[number] = self._unopened(one) if isinstance(one, _Seen) else one
        return [found[number] for number in range(len(places))]

    def _known(self, place: Place, kept: Kept) -> Found | None:
        """What was found before in the very bytes that lie at `place` now."""
        try:
            origin = Origin(place, place.sum(place.content()))
        except RecordError as error:
            return error
        known = kept.find(_KeptRecord, *_names(origin))
        return None if known is None else known.words.lying_at(origin, known.outline, self._shelf)

    def _unopened(self, seen: _Seen) -> UnopenedRecord:
        known = _KeptRecord.model_validate_json(seen.text)
        return known.words.lying_at(seen.origin, known.outline, self._shelf)


class _KeptRecord(BaseModel):
    """A record that was read and checked: its words, without the fields LEFT_OUT, and its outline."""

    model_config = ConfigDict(extra="forbid")

    words: UnopenedRecord
    outline: Outline

    @classmethod
    def of(cls, record: RunRecord) -> _KeptRecord:
        words = {name: value for name, value in record if name not in LEFT_OUT}
        return cls.model_construct(words=UnopenedRecord.model_construct(**words), outline=Outline.of(record))


class _KeptRow(BaseModel):
    """A row, without its rank and what best known attacks say of it."""

    model_config = ConfigDict(extra="forbid")

    row: Row


@dataclass(frozen=True)
class _Look:
    place: Place
    kept: Kept | None


@dataclass(frozen=True)
class _Seen:
    """A record that was read: the text of its words and outline."""

    origin: Origin
    text: bytes


@dataclass(frozen=True)
class _Task:
    """A row to be made: where its records lie (or those that lie in no file of their own), the rest of its order, and
    what it is kept under."""

    records: tuple[Origin | RunRecord, ...]
    rest: RowOrder
    parts: tuple[object, ...]
    kept: Kept | None


def _look(look: _Look) -> _Seen | BestKnown | RecordError:
    try:
        content = look.place.content()
        found = look.place.parsed(content)
        if isinstance(found, BestKnown):
            return found
        text = to_json(_KeptRecord.of(found))
    except RecordError as error:
        return error
    origin = Origin(look.place, look.place.sum(content))
    if look.kept is not None:
        look.kept.keep(_KeptRecord, text, *_names(origin))
    return _Seen(origin, text)


def _make(task: _Task) -> bytes:
    records = tuple(one.read() if isinstance(one, Origin) else one for one in task.records)
    text = to_json(_KeptRow(row=make_row(replace(task.rest, finished=records))))
    if task.kept is not None:
        task.kept.keep(_KeptRow, text, *task.parts)
    return text


def _names(origin: Origin) -> tuple[object, ...]:
    """What a record is kept under. One that a manifest vouches for was not checked as others are."""
    return origin.sum, origin.place.frozen is not None


def _parts(order: RowOrder) -> tuple[object, ...]:
    """What a row is kept under: all that it depends on, its records by the bytes that they were read from."""
    sums = [_sum_of(record) for record in order.finished]
    return sums, order.lost, order.doubled, [asdict(column) for column in order.threats], order.ranked


def _sum_of(record: RunRecord) -> str:
    if isinstance(record, UnopenedRecord):
        return record.origin.sum
    return "content " + hashlib.sha256(to_bytes(record)).hexdigest()
