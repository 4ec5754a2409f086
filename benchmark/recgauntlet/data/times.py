"""Times of the user's own tables: seconds or milliseconds since 1970, compact dates, or ISO 8601."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from recgauntlet.core.errors import DataError
from recgauntlet.data.validate import LATEST

EARLIEST = 315_532_800
"""1980-01-01 in seconds since 1970 (UTC). A number is taken for a time between it and LATEST (2100-01-01) alone, so
none is both seconds and milliseconds, or seconds and a date of eight digits."""
_HOURS = range(1980010100, 2100010100)
"""Dates with an hour (2023021612), which are also seconds of the years 2032 to 2036."""
_REMEDY = "write ISO 8601 (2024-05-31T18:20:00), whole seconds or milliseconds since 1970 (UTC), or dates like 20240531"


def seconds(values: Sequence[object], path: Path) -> list[int]:
    """Whole seconds since 1970 (UTC); a time without a zone is UTC.

    Raises
    ------
    DataError
        Where a value is no time, or lies outside 1980 to 2100 as a number; where the column mixes forms; or where
        its numbers may be seconds or dates with an hour (2023021612).
    """
    out: list[int] = []
    first: dict[str, int] = {}  # each form's first row
    hours = bool(values)
    for row, value in enumerate(values, start=1):
        form, second = _read(value, row, path)
        first.setdefault(form, row)
        hours = hours and form == "seconds" and second in _HOURS and _moment(str(second), "%Y%m%d%H") is not None
        out.append(second)
    if len(first) > 1:
        found = ", ".join(f"{form} in row {row}" for form, row in first.items())
        raise DataError(f"mixes forms of time: {found}", where=path, field="time", remedy="write all in one form")
    if hours:
        raise DataError(
            f"all values may be seconds or dates with an hour ({values[0]!r})",
            where=path,
            field="time",
            remedy="write ISO 8601 (2023-02-16T12:00:00)",
        )
    return out


def _read(value: object, row: int, path: Path) -> tuple[str, int]:
    """The form of one time, and the time in seconds."""
    if isinstance(value, date):
        return "ISO 8601", _since_1970(value)
    text = str(value).strip()
    number = re.fullmatch(r"(\d+)(\.\d*)?", text)
    if not number:
        try:
            return "ISO 8601", _since_1970(datetime.fromisoformat(text))
        except ValueError as error:
            raise _fault(f"{text[:40]!r} is no time", row, path) from error
    digits = number[1][:20]  # beyond every limit, and short enough for int()
    for form, unit in (("seconds", 1), ("milliseconds", 1000)):
        if EARLIEST * unit <= int(digits) < LATEST * unit:
            return form, int(digits) // unit
    for form, pattern, length in (("dates", "%Y%m%d", 8), ("dates with a time", "%Y%m%d%H%M%S", 14)):
        moment = _moment(digits, pattern) if len(digits) == length else None
        if moment is not None and EARLIEST <= _since_1970(moment) < LATEST:
            return form, _since_1970(moment)
    raise _fault(f"{text[:40]!r} is no time between 1980 and 2100 in a known unit", row, path)


def _moment(digits: str, pattern: str) -> datetime | None:
    try:
        return datetime.strptime(digits, pattern)
    except ValueError:
        return None


def _since_1970(moment: date) -> int:
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def _fault(problem: str, row: int, path: Path) -> DataError:
    counted = '; if times only count (1, 2, 3), call the column position and split with rule = "per-user"'
    return DataError(problem, where=path, field=f"time, row {row}", remedy=_REMEDY + counted)
