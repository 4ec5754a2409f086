"""Records of which only the words are in memory: a table of thousands needs no more of most of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic import PrivateAttr

from recgauntlet.leaderboard.outline import Outline
from recgauntlet.records.places import Place
from recgauntlet.records.schema import RunRecord

LEFT_OUT = frozenset({"clean", "threats", "ranking", "promotion", "certified", "gates", "epochs"})
"""The fields that are not in memory: nine tenths of a record."""
_OPEN = 64
"""Records that a shelf keeps open; each takes about a megabyte."""


class Shelf:
    """The whole records that were asked for last."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, RunRecord] = OrderedDict()

    def take(self, origin: Origin) -> RunRecord:
        """The whole record; RecordError where its file cannot be read any more, or is another now."""
        record = self._open.pop(origin.sum, None) or origin.read()
        self._open[origin.sum] = record
        if len(self._open) > _OPEN:
            self._open.popitem(last=False)
        return record


@dataclass(frozen=True)
class Origin:
    """Where a record was read from, and the sum of all that it was read from (`Place.sum`)."""

    place: Place
    sum: str

    def read(self) -> RunRecord:
        """The whole record; RecordError as `Shelf.take`."""
        return self.place.again(self.sum)

    def file(self) -> bytes:
        """The file of the record as JSON; RecordError as `Shelf.take`."""
        return self.place.file_again(self.sum)


class UnopenedRecord(RunRecord):
    """A record that was read and checked, of which the fields LEFT_OUT are read again when they are asked for.

    It stands wherever a record may, and is equal to the whole one. It raises RecordError where the file is gone or
    changed by the time a field is asked for.
    """

    _origin: Origin = PrivateAttr()
    _outline: Outline = PrivateAttr()
    _shelf: Shelf = PrivateAttr()

    def lying_at(self, origin: Origin, outline: Outline, shelf: Shelf) -> Self:
        """This record, whose fields LEFT_OUT are not known, as the one that lies at `origin`."""
        for name in LEFT_OUT & vars(self).keys():
            del vars(self)[name]
        self._origin, self._outline, self._shelf = origin, outline, shelf
        return self

    @property
    def origin(self) -> Origin:
        """Where it lies."""
        return self._origin

    @property
    def outline(self) -> Outline:
        """Its outline."""
        return self._outline

    def opened(self) -> RunRecord:
        """The whole record."""
        return self._shelf.take(self._origin)

    if not TYPE_CHECKING:  # a type checker should go on telling of names that are not there

        def __getattr__(self, name: str) -> Any:
            return getattr(self.opened(), name) if name in LEFT_OUT else super().__getattr__(name)

    def model_dump(self, **options: Any) -> dict[str, Any]:
        return self.opened().model_dump(**options)

    def model_dump_json(self, **options: Any) -> str:
        return self.opened().model_dump_json(**options)

    def model_copy(self, **options: Any) -> RunRecord:  # type: ignore[override]
        return self.opened().model_copy(**options)

    def __iter__(self) -> Generator[tuple[str, Any], None, None]:
        return iter(self.opened())

    def __eq__(self, other: object) -> bool:
        return self.opened() == (other.opened() if isinstance(other, UnopenedRecord) else other)

    def __reduce__(self) -> tuple[Any, ...]:
        return _itself, (self.opened(),)


def _itself(record: RunRecord) -> RunRecord:
    return record


def outline_of(record: RunRecord) -> Outline:
    """The outline of a record, whole or not."""
    return record.outline if isinstance(record, UnopenedRecord) else Outline.of(record)
