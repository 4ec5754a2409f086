"""Two ways of doing one thing, timed side by side in one process: repetitions interleaved, the median of ratios.

Seconds are the process's own processor time. All run on one thread, so on an idle machine they are those of the clock,
and on a busy one they do not count what others do.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sides:
    """`ratio`: the median over the rounds of the first's seconds over the second's; the median seconds of both."""

    ratio: float
    first: float
    second: float
    rounds: int


def side_by_side(
    first: Callable[[], object], second: Callable[[], object], *, rounds: int = 7, warm: bool = True
) -> Sides:
    """Time both in every round; the second begins every other round."""
    if warm:
        first()
        second()
    seconds = np.empty((rounds, 2))
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            seconds[number, side] = seconds_of((first, second)[side])
    ratio = float(np.median(seconds[:, 0] / seconds[:, 1]))
    return Sides(ratio, *np.median(seconds, axis=0).tolist(), rounds)


def seconds_of(call: Callable[[], object]) -> float:
    """The processor time that one call takes."""
    started = time.process_time()
    call()
    return time.process_time() - started
