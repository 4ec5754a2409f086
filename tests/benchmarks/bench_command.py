"""What a command takes with all its processes: seconds, processor seconds and memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import psutil

LOOKS_EVERY = 0.1


@dataclass(frozen=True)
class Watched:
    """A command that has ended. `wall` and `processor` seconds, of the latter those of the main process too; `peak`
    bytes of all processes at once."""

    out: str
    err: str
    wall: float
    processor: float
    of_main: float
    peak: int


def watched(arguments: list[str], memory: Callable[[psutil.Process], int]) -> Watched:
    """Run `recgauntlet` with `arguments` and look at it all the time; `memory` says what a process takes. It must end
    well."""
    seconds: dict[int, float] = {}
    peak, start = 0, time.perf_counter()
    command = [sys.executable, "-m", "recgauntlet", *arguments]
    with psutil.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            taken = 0
            with suppress(psutil.Error):  # ended since it was listed
                for one in [process, *process.children(recursive=True)]:
                    seconds[one.pid] = sum(one.cpu_times()[:2])
                    taken += memory(one)
            peak = max(peak, taken)
            time.sleep(LOOKS_EVERY)
        out, err = process.communicate()
    wall = time.perf_counter() - start
    assert process.returncode == 0, err
    return Watched(out, err, wall, sum(seconds.values()), seconds[process.pid], peak)
