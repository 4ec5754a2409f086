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
    """Limits of one cell. `silence`: seconds without a word of progress, after which it counts as hanging.

    Memory is what the process and its descendants hold resident together; `processes` counts these descendants.
    """

    seconds: float = 12 * 3600.0
    silence: float = 3600.0
    memory: int = 8 * GIB
    processes: int = 16

    @classmethod
    def of_machine(cls, workers: int, *, seconds: float | None = None, memory: int | None = None) -> Allowance:
        """Nine tenths of the machine's memory, shared by `workers` cells, unless `memory` says otherwise."""
        share = int(psutil.virtual_memory().total * 0.9 / max(1, workers))
        defaults = cls()
        return cls(
            seconds=seconds or defaults.seconds,
            silence=min(defaults.silence, seconds or defaults.silence),
            memory=memory or max(LEAST_MEMORY, share),
        )


@dataclass(frozen=True)
class Excess:
    """Which limit was passed, and what to say of it."""

    kind: str
    message: str


class Meter:
    """Watches the process `pid`, which leads a group of its own, from outside; `look` is cheap enough for several
    times a second."""

    def __init__(self, pid: int, allowance: Allowance) -> None:
        self._pid = pid
        self._allowance = allowance
        self._started = self._heard = time.monotonic()
        self._seen: set[psutil.Process] = set()
        try:
            self._process: psutil.Process | None = psutil.Process(pid)
        except psutil.NoSuchProcess:
            self._process = None

    def heard(self) -> None:
        """The process gave a sign of life."""
        self._heard = time.monotonic()

    def look(self) -> Excess | None:
        """The limit that the process has passed, if any."""
        now, allowed = time.monotonic(), self._allowance
        if now - self._started > allowed.seconds:
            return Excess("TimeLimit", f"took more than {allowed.seconds / 60:.4g} minutes (--time-limit)")
        if now - self._heard > allowed.silence:
            return Excess("TimeLimit", f"gave no sign of life for {allowed.silence / 60:.4g} minutes")
        tree = _tree(self._process)
        self._seen.update(tree[1:])
        if len(tree) - 1 > allowed.processes:
            return Excess("ProcessLimit", f"started more than {allowed.processes} processes")
        held = sum(_resident(process) for process in tree)
        if held > allowed.memory:
            return Excess(
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
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while tree := _tree(process):
            for member in tree:
                with contextlib.suppress(psutil.Error):
                    member.suspend()
            grown = {p.pid for p in _tree(process)} - {p.pid for p in tree}
            if not grown:
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


def _tree(process: psutil.Process | None) -> list[psutil.Process]:
    if process is None:
        return []
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0
