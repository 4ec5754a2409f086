"""Resource limits of a cell's process, and ending it with all its children."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from recgauntlet.runner import resources

GIB = 2**30
SUPERVISED = sys.platform == "linux"
"""Whether a process's first child is the one that works (`supervise`)."""
_SUBREAPER, _DEATH_SIGNAL = 36, 1
_ENDING = 5.0
"""Seconds that killed processes may take to go."""
LEAST_MEMORY = 2 * GIB
"""A cell of a small task needs about one."""


@dataclass(frozen=True)
class Allowance:
    """Limits of one cell."""

    seconds: float = 12 * 3600.0
    silence: float = 3600.0
    """Seconds without progress, after which a process counts as hanging."""
    memory: int = 8 * GIB
    """Bytes that the process and its descendants hold resident together; what forks share counts once."""
    processes: int = 16
    """Descendants."""

    @classmethod
    def of_machine(cls, workers: int, *, seconds: float = 0, memory: int = 0) -> Allowance:
        """Nine tenths of the memory that this process may use, shared by `workers` cells; `seconds` and `memory` count
        where they are not 0."""
        part = int(resources.memory() * 0.9 / max(1, workers))
        seconds = seconds or cls.seconds
        return cls(seconds, min(cls.silence, seconds), memory or max(LEAST_MEMORY, part))


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
        tree = tree[1:] if SUPERVISED else tree
        if len(tree) - 1 > allowed.processes:
            return "ProcessLimit", f"started more than {allowed.processes} processes"
        held = sum(_resident(process) for process in tree)
        if held > allowed.memory and len(tree) > 1:  # memory that forks share was counted for each
            held = sum(_proportional(process) for process in tree)
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


def supervise(work: Callable[[], None]) -> None:
    """Do `work` in a child process, and end everything that it leaves behind: orphans become children of this process,
    whatever group they have joined. Where the system has no such thing, the work is done in this process.

    This process ends as the child ends, and never returns; the child returns. It ends all where its own parent dies.
    """
    if not SUPERVISED:
        return work()
    os.setsid()
    parent, libc = os.getppid(), ctypes.CDLL(None)
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    worker = os.fork()
    if worker == 0:
        end_with_parent()
        return work()
    status = None
    while status is None and os.getppid() == parent:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                status = ended[1] if ended[0] == worker else status
        time.sleep(0.02)
    while children := psutil.Process().children(recursive=True):
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(status) if status is not None else 1
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -code)
    os._exit(code)


def end_with_parent() -> None:
    """Let this process be killed where its parent ends, where the system knows such a thing."""
    if SUPERVISED:
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def end_tree(pid: int) -> None:
    """Kill a process and all its descendants, stopping each first so that none starts another meanwhile. It goes last:
    where it supervises, it adopts those whose parent is killed before they are seen."""
    while tree := _tree(pid):
        for member in tree:
            with contextlib.suppress(psutil.Error):
                member.suspend()
        if {p.pid for p in _tree(pid)} <= {p.pid for p in tree}:
            break
    end = time.monotonic() + _ENDING
    while (rest := [process for process in _tree(pid)[1:] if _lives(process)]) and time.monotonic() < end:
        for process in rest:
            _kill_group(process.pid)
            with contextlib.suppress(psutil.Error):
                process.kill()
    _kill_group(pid)
    for member in reversed(tree):
        with contextlib.suppress(psutil.Error):
            member.kill()
    psutil.wait_procs(tree, timeout=_ENDING)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


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


def _proportional(process: psutil.Process) -> int:
    """Resident bytes, those that it shares divided by how many share them; where the system does not tell it, all.
    Slower than `_resident`: the kernel walks through every page."""
    try:
        return int(getattr(process.memory_full_info(), "pss", 0)) or _resident(process)
    except psutil.Error:
        return _resident(process)
