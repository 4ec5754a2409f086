"""Sending records to trackers: all at once, or one by one while a sweep runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self

from recgauntlet.core.types import Progress
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.records.schema import RunRecord
from recgauntlet.tracking.base import Tracker
from recgauntlet.tracking.pictures import pictures_of
from recgauntlet.tracking.runs import key_of, key_of_table, run_of, run_of_table

MOST_FAILURES = 3
"""In a row, after which a tracker is given up: one that cannot be reached may take minutes to say so."""


def log_record(tracker: Tracker, record: RunRecord) -> bool:
    """Log a record unless it is there; whether it was logged. Raises what the tracker raises."""
    record = record if record.digest else record.sealed()
    if tracker.has(key_of(record)):
        return False
    tracker.log(run_of(record))
    return True


def log_figures(tracker: Tracker, table: TaskTable) -> bool:
    """Log the figures of a table unless they are there, or there are none; whether they were logged. Raises what the
    tracker raises."""
    if not table.rows or tracker.has(key_of_table(table)):
        return False
    pictures = pictures_of(table)
    if pictures:
        tracker.log(run_of_table(table, pictures))
    return bool(pictures)


def log_all(
    tracker: Tracker, records: Sequence[RunRecord], tables: Iterable[TaskTable], progress: Progress
) -> tuple[int, int]:
    """Log sealed records, then the figures of `tables`; how many of each were not there before. Raises what the
    tracker raises."""
    logged = 0
    for number, record in enumerate(records):
        progress(key_of(record).name, number / len(records))
        logged += log_record(tracker, record)
    progress("figures", 1.0)
    return logged, sum(log_figures(tracker, table) for table in tables)


class LiveTracking:
    """Logs the cells of a sweep as they end, in a thread of its own, so that a slow tracker does not hold cells up.

    Nothing that a tracker raises comes out: `warn` is called with a sentence. A tracker that fails MOST_FAILURES times
    in a row is not asked again. Use it as a context manager; leaving it waits for what is not logged yet, and after an
    error of the sweep drops it.
    """

    def __init__(self, trackers: Mapping[str, Tracker], warn: Callable[[str], None]) -> None:
        self._trackers = trackers
        self._warn = warn
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tracking")
        self._failures = dict.fromkeys(trackers, 0)
        self.incomplete: set[str] = set()
        """The trackers that failed to log something."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=kind is not None)

    def send(self, record: RunRecord) -> None:
        """Log a record soon. Returns at once."""
        for name, tracker in self._trackers.items():
            self._pool.submit(self._guarded, name, partial(log_record, tracker, record))

    def send_figures(self, records: Sequence[RunRecord]) -> None:
        """Log records that are not logged yet, then the figures of the tables that all of them make. Waits for no
        tracker."""
        for record in records:
            self.send(record)
        tables = build_table(records) if self._trackers else ()
        for name, tracker in self._trackers.items():
            for table in tables:
                self._pool.submit(self._guarded, name, partial(log_figures, tracker, table))

    def _guarded(self, name: str, log: Callable[[], bool]) -> None:
        if self._failures[name] >= MOST_FAILURES:
            return
        try:
            log()
            self._failures[name] = 0
        except Exception as error:  # whatever a tracker's package raises: the sweep goes on
            self._failures[name] += 1
            self.incomplete.add(name)
            self._warn(f"{name} could not log a run ({type(error).__name__}: {error})")
