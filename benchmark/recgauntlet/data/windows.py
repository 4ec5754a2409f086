"""Windows of time over a task's data: what a model that is retrained learns from next, and what it is tested on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveInt

from recgauntlet.core.card import Split, TaskCard, Track, TrackCard
from recgauntlet.core.dataset import Tables
from recgauntlet.core.errors import CardError, DataError
from recgauntlet.core.task import Task
from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.data.cleaning import pc
from recgauntlet.data.examples import boundaries, boundary, catalog_of, takes_of

VALIDATED = 0.2
"""The share of a window's clicks, its newest, that choose the epoch."""
LEAST_TESTED = 50
"""Clicks with a history below which a test period tells nothing."""


class Window(BaseModel):
    """A step of periodic retraining: clicks from `begin` to `valid_from` train, those until `until` choose the epoch,
    and those from there to `end` test. Times are ISO 8601 (UTC); sizes are at most the card's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    begin: str
    valid_from: str
    until: str
    end: str
    train_pairs: PositiveInt
    valid_pairs: PositiveInt
    test_pairs: PositiveInt
    test_impressions: PositiveInt


def windowed(task: Task, track: Track, window: Window) -> Task:
    """The task with the window's periods and sizes on its track; without simulated ads, which need long periods."""
    card = task.card.track(track)
    changed = card.model_copy(
        update={
            "split": Split(
                train_from=window.begin, valid_from=window.valid_from, test_from=window.until, test_until=window.end
            ),
            **window.model_dump(include={"train_pairs", "valid_pairs", "test_pairs", "test_impressions"}),
        }
    )
    tracks = {**task.card.tracks, track: changed}
    return replace(task, card=task.card.model_copy(update={"tracks": tracks, "ads": None}))


def next_window(card: TaskCard, track: Track, tables: Tables, until: str, begin: str = "") -> Window:
    """The window that ends at the date `until` and begins where training ended: at `begin`, by default where the card's
    training period ends. The test period is as long as the window, or what the data has of it.

    Raises
    ------
    CardError
        Where the split is per user, so that there is no common clock, or a date is none.
    DataError
        Where the window or the time after it has too few clicks.
    """
    of = card.track(track)
    where = f"{card.id} ({track})"
    if of.split.rule != "time":
        raise CardError(
            "splits each user's clicks, so no window of time is the next one for all",
            where=where,
            field="split.rule",
            remedy='retrain on a task whose split has the rule "time"',
        )
    times, usable = _clicks(tables)
    first = boundary(begin, times, where, "begin") if begin else boundaries(of.split, times, where)[0]
    last = boundary(until, times, where, "--until")
    if not first < last <= times.max():
        raise DataError(
            f"{until} is not between the end of the training so far ({_text(first)}) and the last click "
            f"({_text(int(times.max()))})",
            where=where,
            field="--until",
            remedy="give a date between them: what lies behind it is what the model is tested on",
        )
    inside = np.sort(times[usable & (times >= first) & (times < last)])
    end = min(last + (last - first), int(times.max()) + 1)
    tested = int((usable & (times >= last) & (times < end)).sum())
    if len(inside) < LEAST_TESTED or tested < LEAST_TESTED:
        raise DataError(
            f"from {_text(first)} to {until} there are {len(inside)} clicks with a history, and {tested} in the time "
            f"after it; each needs {LEAST_TESTED}",
            where=where,
            field="--until",
            remedy="move the date, so that the window and the time after it are longer",
        )
    valid_from = int(inside[int((1 - VALIDATED) * len(inside))])
    train, valid = int((inside < valid_from).sum()), int((inside >= valid_from).sum())
    return Window(
        begin=_text(first),
        valid_from=_text(valid_from),
        until=_text(last),
        end=_text(end),
        train_pairs=min(of.train_pairs, train * _per_click(of, tables)),
        valid_pairs=min(of.valid_pairs, valid),
        test_pairs=min(of.test_pairs, tested),
        test_impressions=min(of.test_impressions, tested),
    )


def _per_click(card: TrackCard, tables: Tables) -> int:
    """Pairs of a click that there are for sure: an impression may show one other item alone."""
    return card.negatives.train_per_click if tables.interactions is not None else 1


def _clicks(tables: Tables) -> tuple[IntArray, BoolArray]:
    """`[n]`: the times of the interactions or impressions, and which of them may become examples."""
    if tables.interactions is not None:
        users = pc.unique(tables.interactions["user"]).sort()
        takes = takes_of(tables.interactions, users, catalog_of(tables.items))
        return takes.times, takes.has_history
    assert tables.impressions is not None
    rows = tables.impressions
    clicks = [sum(marks) for marks in rows["clicked"].to_pylist()]
    sizes = pc.list_value_length(rows["clicked"]).to_numpy()
    has_history = pc.list_value_length(rows["history"]).to_numpy() > 0
    times: IntArray = rows["time"].to_numpy().astype(np.int64)
    return times, has_history & (np.array(clicks) > 0) & (np.array(clicks) < sizes)


def _text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat()
