"""The fence around a process: where it may write and what it may not see, held by Python and, where it can, the kernel.

Python's audit events name what was tried and hold on every platform, but not for native code. Landlock holds for all
code on Linux. Neither keeps a plugin from the memory of the process that it runs in: see docs/untrusted-plugins.md.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recgauntlet.guard import landlock

Report = Callable[[str], None]

_CHANGED_PATHS = {
    "os.chflags": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.removexattr": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.setxattr": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
    "shutil.rmtree": (0,),
}
"""Which arguments of an audit event are paths that change."""
_PROGRAMS = frozenset(
    {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "pty.spawn"}
    | {"subprocess.Popen"}
)
_CONNECTIONS = frozenset({"socket.bind", "socket.connect", "socket.sendto", "socket.sendmsg"})
_SIGNALS = frozenset({"os.kill", "os.killpg", "signal.pthread_kill"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_DEVICES = Path("/dev")


@dataclass(frozen=True)
class Fence:
    """`writable`: the only directories below which files change. `unreadable`: what may not be read."""

    writable: tuple[Path, ...]
    unreadable: tuple[Path, ...] = ()

    def resolved(self) -> Fence:
        """The same fence with no symbolic link in its paths."""
        return Fence(tuple(p.resolve() for p in self.writable), tuple(p.resolve() for p in self.unreadable))


class FenceError(PermissionError):
    """Something was tried that the fence forbids."""


def raise_fence(fence: Fence, report: Report) -> None:
    """Put this process behind `fence` for the rest of its life; call it before any code of a plugin runs.

    `report` is told in words what was tried, before FenceError is raised there: whoever swallows the error hides
    nothing. Call it from the main thread before others start, because Landlock holds for the caller and what it starts.
    """
    held = fence.resolved()
    sys.dont_write_bytecode = True
    landlock.restrict((*held.writable, _DEVICES), held.unreadable)
    sys.addaudithook(_Watch(held, report))


class _Watch:
    """The audit hook."""

    def __init__(self, fence: Fence, report: Report) -> None:
        self._fence = fence
        self._report = report

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            self._judge_open(*arguments[:3])
        elif event == "os.mkdir" and Path(os.fsdecode(arguments[0])).is_dir():
            return  # libraries do so to see whether it is there; it fails by itself
        elif event in _CHANGED_PATHS:
            for place in _CHANGED_PATHS[event]:
                self._judge_change(arguments[place])
        elif event in _PROGRAMS:
            self._refuse("tried to start a process")
        elif event in _CONNECTIONS:
            self._refuse("tried to open a connection")
        elif event in _SIGNALS and os.getpid() not in arguments[:1]:
            self._refuse("tried to signal another process")

    def _judge_open(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(mode, str):
            writes = any(letter in mode for letter in "wax+")
        else:
            writes = bool(isinstance(flags, int) and flags & _WRITING)
        if writes:
            self._judge_change(path)
        elif self._fence.unreadable:
            where = _place(path)
            if where and _below(where, self._fence.unreadable) and not _below(where, self._fence.writable):
                self._refuse(f"tried to read {where.name!r}, which is out of its reach")

    def _judge_change(self, path: Any) -> None:
        where = _place(path)
        if where and not _below(where, (*self._fence.writable, _DEVICES)):
            self._refuse(f"tried to write {where.name!r} outside its own directory")

    def _refuse(self, what: str) -> None:
        self._report(what)
        raise FenceError(what)


def _place(path: Any) -> Path | None:
    """Where a path leads, or None for a file that is open already (an int)."""
    if isinstance(path, int) or path is None:
        return None
    return Path(os.path.realpath(os.fsdecode(path)))


def _below(path: Path, directories: tuple[Path, ...]) -> bool:
    return any(path == directory or directory in path.parents for directory in directories)
