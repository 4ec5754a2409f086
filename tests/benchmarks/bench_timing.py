"""Two ways of doing one thing, timed side by side in one process: repetitions interleaved, the median of ratios.

Seconds are the process's own processor time. All run on one thread, so on an idle machine they are those of the clock,
and on a busy one they do not count what others do.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sides:
    """`ratio`: the median over the rounds of the first's seconds over the second's; the median seconds of both."""

    ratio: float
    first: float
    second: float
    rounds: int


def side_by_side(
    benchmark: Any, first: Callable[[], object], second: Callable[[], object], *, rounds: int = 7, warm: bool = True
) -> Sides:
    """Time both in every round, each first in every other one; pytest-benchmark books the rounds."""
    seconds: list[tuple[float, float]] = []

    def once() -> None:
        if len(seconds) % 2:
            late = seconds_of(second)
            seconds.append((seconds_of(first), late))
        else:
            early = seconds_of(first)
            seconds.append((early, seconds_of(second)))

    if warm:
        first()
        second()
    benchmark.pedantic(once, rounds=rounds, iterations=1)
    sides = Sides(
        statistics.median(a / b for a, b in seconds),
        statistics.median(a for a, _ in seconds),
        statistics.median(b for _, b in seconds),
        len(seconds),
    )
    benchmark.extra_info.update(ratio=sides.ratio, first=sides.first, second=sides.second)
    return sides


def seconds_of(call: Callable[[], object]) -> float:
    """The processor time that one call takes."""
    started = time.process_time()
    call()
    return time.process_time() - started
