"""Live progress of a sweep: what runs, how far it is, how long it will still take."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from recgauntlet.core.escape import visible
from recgauntlet.core.spec import CellSpec
from recgauntlet.records.schema import RunRecord

Report = Callable[[str, float], None]
"""Told what is being done and the share of it that is done, 0 to 1."""
Done = TypeVar("Done")
LINE_EVERY = 15.0
"""Seconds between lines of progress where the output is no terminal."""


def label(spec: CellSpec) -> str:
    """A cell in a few words."""
    return f"{spec.task_id} {spec.model} {spec.defense} seed {spec.seed}"


class OneBar:
    """One bar on a terminal; elsewhere a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = time.monotonic()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bars.add_task("reading", total=1.0)

    def __enter__(self) -> Self:
        self._bars.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.__exit__(kind, error, trace)

    def part(self, start: float, end: float) -> Callable[[str, float], None]:
        """Progress of a part that runs from `start` to `end` of the whole."""
        return lambda what, share: self._update(what, start + (end - start) * share)

    def _update(self, what: str, share: float) -> None:
        self._bars.update(self._task, description=what, completed=share)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last > LINE_EVERY:
            self._last = now
            self._console.print(f"  {what}; {share:.0%}", soft_wrap=True)


def with_bar(console: Console, work: Callable[[Report], Done]) -> Done:
    """What `work` gives, with one bar that it moves by what it reports."""
    with OneBar(console) as bar:
        return work(bar.part(0.0, 1.0))


class Bars:
    """Draws a bar for the whole and one for each part in flight; without a terminal, a line now and then.

    The time left is estimated from the parts' own shares, so it is there before the first part is finished.
    """

    def __init__(self, console: Console, total: int, noun: str = "cells") -> None:
        self._console = console
        self._total = total
        self._noun = noun
        self._shares: dict[str, float] = {}
        self._finished = 0
        self._began = time.monotonic()
        self._last_line = 0.0
        self._live = console.is_terminal
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            _TimeLeft(),
            console=console,
            disable=not self._live,
        )
        self._all: TaskID = self._bars.add_task(f"{total} {noun}", total=float(max(total, 1)))
        self._of: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.__exit__(kind, error, trace)

    def _begin(self, key: str, name: str) -> None:
        """A bar for the part `key`, which the reader knows by `name`."""
        self._shares[key] = 0.0
        self._of[key] = self._bars.add_task(name, total=1.0)

    def _step(self, key: str, name: str, what: str, share: float) -> None:
        """Move the part's bar and the whole's."""
        self._shares[key] = share
        self._bars.update(self._of[key], completed=share, description=f"  {name}: {what}")
        self._move()
        now = time.monotonic()
        if not self._live and now - self._last_line > LINE_EVERY:
            self._last_line = now
            self._console.print(f"  {name}: {what}; {self._standing()}", markup=False, soft_wrap=True)

    def _end(self, key: str, name: str, done: str, failure: str | None) -> None:
        """A line that stays: how the part ended. `failure`: a plugin's words, of which the last line is shown."""
        self._shares.pop(key, None)
        self._finished += 1
        self._bars.remove_task(self._of.pop(key))
        self._move()
        if failure is not None:
            self._console.print(f"[bold]failed[/bold]  {name}: ", end="", soft_wrap=True)
            lines = failure.strip().splitlines() or [""]
            self._console.print(visible(lines[-1]), markup=False, soft_wrap=True)
        else:
            self._console.print(f"done    {name}, {done}; {self._standing()}", soft_wrap=True)

    def _move(self) -> None:
        self._bars.update(
            self._all, completed=self._done(), description=f"{self._finished} of {self._total} {self._noun}"
        )

    def _done(self) -> float:
        return self._finished + sum(self._shares.values())

    def _standing(self) -> str:
        done = self._done()
        elapsed = time.monotonic() - self._began
        left = elapsed / done * (self._total - done) if done > 0.02 else None
        words = "" if left is None else f", about {duration(left)} left"
        return f"{self._finished} of {self._total} {self._noun}{words}"


class SweepProgress(Bars):
    """The bars of a sweep's cells."""

    def started(self, spec: CellSpec) -> None:
        """A bar for the cell."""
        self._begin(str(spec.record_path), label(spec))

    def progress(self, spec: CellSpec, what: str, share: float) -> None:
        """Move the cell's bar and the sweep's."""
        self._step(str(spec.record_path), label(spec), what, share)

    def finished(self, spec: CellSpec, record: RunRecord, seconds: float) -> None:
        """A line that stays: the cell and how it ended."""
        failure = record.failure
        name = f"{label(spec)} ({failure.stage})" if failure else label(spec)
        self._end(str(spec.record_path), name, f"{seconds:.0f} s", failure.message if failure else None)


class _TimeLeft(ProgressColumn):
    """Elapsed over share done: steadier than a moving average where cells have slow and fast stages."""

    def render(self, task: Task) -> Text:
        if task.finished or not task.total or task.elapsed is None or task.completed < 0.02 * task.total:
            return Text("")
        left = task.elapsed / task.completed * (task.total - task.completed)
        return Text(f"{duration(left)} left", style="progress.remaining")


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def rounded(seconds: float) -> str:
    """A time to the precision that an estimate has: seconds below a minute, minutes below ten hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours >= 10:
        return f"{seconds / 3600:.0f} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
