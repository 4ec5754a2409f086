"""Resource limits of a cell's process, and ending it with all its children."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass

import psutil

GIB = 2**30
LEAST_MEMORY = 2 * GIB
"""A cell of a small task needs about one."""


@dataclass(frozen=True)
class Allowance:
    """Limits of one cell."""

    seconds: float = 12 * 3600.0
    silence: float = 3600.0
    """Seconds without progress, after which a process counts as hanging."""
    memory: int = 8 * GIB
    """Bytes that the process and its descendants hold resident together."""
    processes: int = 16
    """Descendants."""

    @classmethod
    def of_machine(cls, workers: int, *, seconds: float = 0, memory: int = 0) -> Allowance:
        """Nine tenths of the memory, shared by `workers` cells; `seconds` and `memory` count where they are not 0."""
        share = int(psutil.virtual_memory().total * 0.9 / max(1, workers))
        seconds = seconds or cls.seconds
        return cls(seconds, min(cls.silence, seconds), memory or max(LEAST_MEMORY, share))


class Meter:
    """Measures the process `pid`, which leads a group of its own, from outside."""

    def __init__(self, pid: int, allowance: Allowance) -> None:
        self._pid = pid
        self._allowance = allowance
        self._started = self._heard = time.monotonic()
        self._seen: set[psutil.Process] = set()

    def heard(self) -> None:
        """The process has reported something."""
        self._heard = time.monotonic()

    def excess(self) -> tuple[str, str] | None:
        """The kind of limit that the process exceeds and a message; None where it exceeds none."""
        now, allowed = time.monotonic(), self._allowance
        if now - self._started > allowed.seconds:
            return "TimeLimit", f"took more than {allowed.seconds / 60:.4g} minutes (--time-limit)"
        if now - self._heard > allowed.silence:
            return "TimeLimit", f"gave no sign of life for {allowed.silence / 60:.4g} minutes"
        tree = _tree(self._pid)
        self._seen.update(tree[1:])
        if len(tree) - 1 > allowed.processes:
            return "ProcessLimit", f"started more than {allowed.processes} processes"
        held = sum(_resident(process) for process in tree)
        if held > allowed.memory:
            return (
                "MemoryLimit",
                f"held {held / GIB:.2f} GiB of memory where {allowed.memory / GIB:.4g} are allowed (--memory-limit)",
            )
        return None

    def end_rest(self) -> None:
        """Kill what the process started and left behind; psutil takes no new process of the same number for it."""
        _kill_group(self._pid)
        for process in self._seen:
            with contextlib.suppress(psutil.Error):
                process.kill()


def end_tree(pid: int) -> None:
    """Kill a process and all its descendants, stopping each first so that none starts another meanwhile."""
    while tree := _tree(pid):
        for member in tree:
            with contextlib.suppress(psutil.Error):
                member.suspend()
        if {p.pid for p in _tree(pid)} <= {p.pid for p in tree}:
            break
    _kill_group(pid)
    for member in reversed(tree):
        with contextlib.suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(tree, timeout=5)


def _kill_group(pid: int) -> None:
    """Kill the group that `pid` leads or led, all at once; nothing where it leads none."""
    if os.name == "posix" and pid > 1:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
