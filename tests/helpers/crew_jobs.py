"""What the tests of a crew give it to do; a process of its own can import it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path


def squared(number: int) -> int:
    return number * number


def whose(number: int) -> tuple[int, int]:
    return number, os.getpid()


def has_imported(module: str) -> bool:
    return module in sys.modules


def touched(path: Path) -> str:
    """Leaves a file behind."""
    path.touch()
    return path.name


def refused(number: int) -> int:
    if number == 5:
        raise ValueError("no five")
    return number


def deadly(number: int) -> int:
    """Kills the process that does it, unless that is the first of all."""
    if number == 5 and multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def slow(number: int) -> int:
    time.sleep(0.05)
    return number


def endless() -> None:
    """A program that has a crew at work until it is interrupted."""
    import crew_jobs  # which a child can import, unlike a main module

    from recgauntlet.leaderboard.crew import Crew

    with Crew(2) as crew:
        for number in crew.map(crew_jobs.slow, range(100_000), worth=True):
            if number == 40:
                print("working", flush=True)


if __name__ == "__main__":
    endless()
