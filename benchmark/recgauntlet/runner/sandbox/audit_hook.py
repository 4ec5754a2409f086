"""The sandbox of a process: Python audit events, and Landlock and seccomp where the kernel has them.

Audit events cover Python code on every platform, the kernel's rules all code on Linux. None protects the memory of the
process that a plugin runs in: see docs/security.md.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recgauntlet.runner.sandbox import landlock, seccomp

Report = Callable[[str], None]

_NO_DIRECTORY = -1
"""What an event has where no directory is given as a file descriptor."""
_CHANGED_PATHS: dict[str, tuple[tuple[int, int | None], ...]] = {
    "os.chflags": ((0, None),),
    "os.chmod": ((0, 2),),
    "os.chown": ((0, 3),),
    "os.link": ((1, 3),),
    "os.mkdir": ((0, 2),),
    "os.remove": ((0, 1),),
    "os.removexattr": ((0, None),),
    "os.rename": ((0, 2), (1, 3)),
    "os.rmdir": ((0, 1),),
    "os.setxattr": ((0, None),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
}
"""Which arguments of an audit event are paths that change, each with the argument that holds the open directory it is
relative to. (`shutil.rmtree` and the like are seen by the events of what they do.)"""
_PROGRAMS = frozenset(
    {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "pty.spawn"}
    | {"subprocess.Popen"}
)
_CONNECTIONS = frozenset({"socket.bind", "socket.connect", "socket.sendto", "socket.sendmsg"})
_NETWORKS = (socket.AF_INET, socket.AF_INET6)
_SIGNALS = frozenset({"os.kill", "os.killpg", "signal.pthread_kill"})
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_HARMLESS = tuple(Path("/dev", name) for name in ("null", "zero", "full", "random", "urandom"))
_GPUS = ("nvidia*", "dri", "kfd", "dxg")


@dataclass(frozen=True)
class Fence:
    """What a process may do with files."""

    writable: tuple[Path, ...]
    """The only directories below which it may change them."""
    unreadable: tuple[Path, ...] = ()
    """What it may not read, except below `writable`."""


class FenceError(PermissionError):
    """The process tried something that its fence forbids."""


def gpu_devices() -> tuple[Path, ...]:
    """The device files of GPUs and the directories of such."""
    return tuple(sorted(path for name in _GPUS for path in Path("/dev").glob(name)))


def raise_fence(fence: Fence, report: Report) -> None:
    """Put this process behind `fence` for the rest of its life; call it before any code of a plugin runs.

    `report` gets a description of every attempt before FenceError is raised, so a plugin that catches the error hides
    nothing. Call it from the main thread before others start: Landlock applies to the calling thread and its children.
    """
    writable = (*(path.resolve() for path in fence.writable), *_HARMLESS, *gpu_devices())
    resolved = Fence(writable, tuple(path.resolve() for path in fence.unreadable))
    sys.dont_write_bytecode = True
    landlock.restrict(resolved.writable, resolved.unreadable)
    seccomp.refuse_calls()
    sys.addaudithook(_AuditHook(resolved, report))


class _AuditHook:
    def __init__(self, fence: Fence, report: Report) -> None:
        self._fence = fence
        self._report = report

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            self._check_open(*arguments[:3])
        elif event == "os.mkdir" and Path(os.fsdecode(arguments[0])).is_dir():
            return  # libraries test in this way whether it exists; the call fails by itself
        elif event in _CHANGED_PATHS:
            for place, base in _CHANGED_PATHS[event]:
                self._check_change(arguments[place], _NO_DIRECTORY if base is None else arguments[base])
        elif event in _PROGRAMS:
            self._refuse("tried to start a process")
        elif event in _CONNECTIONS or (event == "socket.__new__" and arguments[1] in _NETWORKS):
            self._refuse("tried to open a connection")
        elif event in _SIGNALS and os.getpid() not in arguments[:1]:
            self._refuse("tried to signal another process")

    def _check_open(self, path: Any, mode: Any, flags: Any) -> None:
        if isinstance(mode, str):
            writes = any(letter in mode for letter in "wax+")
        else:
            writes = bool(isinstance(flags, int) and flags & _WRITING)
        if writes:
            self._check_change(path)
        elif self._fence.unreadable:
            where = _place(path)
            if where and _below(where, self._fence.unreadable) and not _below(where, self._fence.writable):
                self._refuse(f"tried to read {where.name!r}, which is out of its reach")

    def _check_change(self, path: Any, base: int = _NO_DIRECTORY) -> None:
        where = _place(path, base)
        if where and not _below(where, self._fence.writable):
            self._refuse(f"tried to write {where.name!r} outside its own directory")

    def _refuse(self, what: str) -> None:
        self._report(what)
        raise FenceError(what)


def _place(path: Any, base: int = _NO_DIRECTORY) -> Path | None:
    """The path from the open directory `base`, links followed; None for a file that is open already (an int)."""
    if isinstance(path, int) or path is None:
        return None
    text = os.fsdecode(path)
    return Path(os.path.realpath(text if base == _NO_DIRECTORY else Path(_directory(base), text)))


def _directory(handle: int) -> Path:
    """The path of an open directory; the root, which no cell may change, where the system does not tell it."""
    try:
        return Path(f"/proc/self/fd/{handle}").readlink()
    except OSError:
        return Path(os.sep)


def _below(path: Path, directories: tuple[Path, ...]) -> bool:
    return any(path == directory or directory in path.parents for directory in directories)
