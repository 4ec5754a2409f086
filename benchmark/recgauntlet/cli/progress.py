"""Live progress: what runs, how far it is, how long it will still take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from recgauntlet.core.escape import shortened, visible
from recgauntlet.core.types import Progress as Report

Done = TypeVar("Done")
LINE_EVERY = 15.0
"""Seconds between lines of progress where the output is no terminal."""


class _Bars:
    """Bars on a terminal; elsewhere a line now and then."""

    def __init__(self, console: Console, *, keeps: bool, time_left: bool) -> None:
        self._console = console
        self._last_line = time.monotonic()
        left = [TimeRemainingColumn()] if time_left else []
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            *left,
            console=console,
            transient=not keeps,
            disable=not console.is_terminal,
            speed_estimate_period=1e6,  # over all of the time: stages differ in speed
        )

    def __enter__(self) -> Self:
        self._bars.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.__exit__(kind, error, trace)

    def _line(self, text: str) -> None:
        """Print a line where there are no bars and the last one is long ago."""
        now = time.monotonic()
        if not self._console.is_terminal and now - self._last_line > LINE_EVERY:
            self._last_line = now
            self._console.print(f"  {text}", markup=False, soft_wrap=True)


class OneBar(_Bars):
    """One bar, which vanishes at the end."""

    def __init__(self, console: Console) -> None:
        super().__init__(console, keeps=False, time_left=False)
        self._task = self._bars.add_task("reading", total=1.0)

    def part(self, start: float, end: float) -> Report:
        """Progress of a part that runs from `start` to `end` of the whole."""

        def update(what: str, share: float) -> None:
            whole = start + (end - start) * share
            self._bars.update(self._task, description=what, completed=whole)
            self._line(f"{what}; {whole:.0%}")

        return update


def with_bar(console: Console, work: Callable[[Report], Done]) -> Done:
    """What `work` gives, with one bar that it moves by what it reports."""
    with OneBar(console) as bar:
        return work(bar.part(0.0, 1.0))


class SweepProgress(_Bars):
    """A bar for the whole and one for each cell (or trial) in flight: a `recgauntlet.runner.processes.Watcher`.

    The time left is estimated from the shares of the cells in flight too, so it is there before the first is
    finished. Threads may report at once.
    """

    def __init__(self, console: Console, total: int, noun: str = "cells") -> None:
        super().__init__(console, keeps=True, time_left=True)
        self._total = total
        self._noun = noun
        self._lock = threading.Lock()
        self._shares: dict[str, float] = {}
        self._finished = 0
        self._began = time.monotonic()
        self._all = self._bars.add_task(f"{total} {noun}", total=float(max(total, 1)))
        self._of: dict[str, TaskID] = {}

    def started(self, name: str) -> None:
        """A bar for `name`."""
        with self._lock:
            self._shares[name] = 0.0
            self._of[name] = self._bars.add_task(name, total=1.0)

    def progress(self, name: str, what: str, share: float) -> None:
        """Move its bar and the whole's. `what` may be a plugin's text."""
        what = shortened(visible(what))
        with self._lock:
            self._shares[name] = share
            self._bars.update(self._of[name], completed=share, description=f"  {name}: {escape(what)}")
            self._line(f"{name}: {what}; {self._move()}")

    def finished(self, name: str, result: str, failure: str) -> None:
        """A line that stays: how it ended. Of a failure, which may be a plugin's text, the first line."""
        with self._lock:
            self._shares.pop(name)
            self._finished += 1
            self._bars.remove_task(self._of.pop(name))
            counts = self._move()
            if failure:
                self._console.print(f"[bold]failed[/bold]  {name}: ", end="", soft_wrap=True)
                self._console.print(visible(failure.strip().splitlines()[0]), markup=False, soft_wrap=True)
            else:
                self._console.print(f"done    {name}, {result}; {counts}", soft_wrap=True)

    def _move(self) -> str:
        """Move the whole's bar; how much is done, and the time left."""
        done = self._finished + sum(self._shares.values())
        counts = f"{self._finished} of {self._total} {self._noun}"
        self._bars.update(self._all, completed=done, description=counts)
        left = (time.monotonic() - self._began) / done * (self._total - done) if done > 0.02 else None
        return counts if left is None else f"{counts}, about {duration(left)} left"


def duration(seconds: float) -> str:
    """A time to the precision that an estimate has: seconds below a minute, minutes below ten hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours >= 10:
        return f"{seconds / 3600:.0f} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
