"""Sending records: nothing twice, and a tracker that fails holds no sweep up."""

from __future__ import annotations

import pytest
from synthetic_records import make_record

from recgauntlet.leaderboard.build import build_table
from recgauntlet.records.schema import RunRecord
from recgauntlet.tracking import send
from recgauntlet.tracking.base import Key, TrackedRun
from recgauntlet.tracking.send import MOST_FAILURES, LiveTracking, log_all, log_record


class InMemory:
    """A tracker that keeps runs, and raises as often as it is told to."""

    hint = "nowhere"

    def __init__(self, faults: int = 0) -> None:
        self.runs: dict[str, TrackedRun] = {}
        self.asked = 0
        self._faults = faults

    def has(self, key: Key) -> bool:
        self.asked += 1
        if self._faults:
            self._faults -= 1
            raise ConnectionError("no route")
        return key.id in self.runs

    def log(self, run: TrackedRun) -> None:
        assert run.key.id not in self.runs
        self.runs[run.key.id] = run


@pytest.fixture
def records() -> list[RunRecord]:
    return [make_record(seed=seed, pairs=20) for seed in range(3)]


def quiet(what: str, share: float) -> None:
    """No progress."""


def test_records_and_figures_are_logged_once(records: list[RunRecord]) -> None:
    tracker = InMemory()
    tables = build_table(records)
    assert log_all(tracker, records, tables, quiet) == (3, 1)
    assert log_all(tracker, records, tables, quiet) == (0, 0)
    assert len(tracker.runs) == 4
    (drawn,) = (run for run in tracker.runs.values() if run.pictures)
    assert any("heat-map" in picture.name for picture in drawn.pictures)
    assert all(picture.png.startswith(b"\x89PNG") for picture in drawn.pictures)


def test_a_record_that_is_not_sealed_is_the_same_run(records: list[RunRecord]) -> None:
    tracker = InMemory()
    assert log_record(tracker, records[0].model_copy(update={"digest": ""}))
    assert not log_record(tracker, records[0])


def test_a_failure_is_a_warning_and_the_next_cell_is_logged(records: list[RunRecord]) -> None:
    good, bad, warnings = InMemory(), InMemory(faults=1), list[str]()
    with LiveTracking({"good": good, "bad": bad}, warnings.append) as live:
        for record in records:
            live.send(record)
    assert (len(good.runs), len(bad.runs)) == (3, 2)
    assert warnings == ["bad could not log a run (ConnectionError: no route)"]
    assert live.incomplete == {"bad"}


def test_a_tracker_that_keeps_failing_is_given_up(records: list[RunRecord]) -> None:
    bad, warnings = InMemory(faults=100), list[str]()
    with LiveTracking({"bad": bad}, warnings.append) as live:
        for record in [*records, *records]:
            live.send(record)
    assert bad.asked == len(warnings) == MOST_FAILURES


def test_at_the_end_come_the_figures_and_cells_that_were_done_before(
    records: list[RunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(send, "pictures_of", lambda table: drawn.append(table) or ())
    tracker = InMemory()
    with LiveTracking({"tracker": tracker}, pytest.fail) as live:
        live.send(records[0])
        live.send_figures(records)
    assert len(tracker.runs) == 3
    assert len(drawn) == 1
