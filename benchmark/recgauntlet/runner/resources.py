"""What of the machine this process may use: schedulers and containers often leave a job a part of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_GROUPS = Path("/proc/self/cgroup")
_CONTROL = Path("/sys/fs/cgroup")


def cpus() -> int:
    """The cores that this process may run on, where the system tells; else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> int:
    """Bytes of memory that this process may use: the machine's, or less where a control group (of Slurm, of a
    container) or `SLURM_MEM_PER_NODE` sets a limit."""
    return min(_limits())


def _limits() -> Iterator[int]:
    """Bytes."""
    yield psutil.virtual_memory().total
    asked = os.environ.get("SLURM_MEM_PER_NODE", "")  # MiB
    if asked.isdecimal() and int(asked):
        yield int(asked) * 2**20
    with suppress(OSError):
        for line in _GROUPS.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if not controllers:
                yield from _limits_of(_CONTROL, group, "memory.max")
            elif controllers == "memory":
                yield from _limits_of(_CONTROL / "memory", group, "memory.limit_in_bytes")


def _limits_of(root: Path, group: str, file: str) -> Iterator[int]:
    """The limits of a group and of those that it lies in; in a container its own group is the root."""
    place = root / group.lstrip("/")
    for directory in (place, *place.parents):
        with suppress(OSError):
            limit = (directory / file).read_text().strip()
            if limit.isdecimal():
                yield int(limit)
        if directory == root:
            return
