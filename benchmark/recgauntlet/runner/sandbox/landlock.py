"""Linux's Landlock: a process gives up rights permanently, and the kernel enforces it, for native code too.

Source: the kernel's `Documentation/userspace-api/landlock.rst`. The numbers are those of its header
`linux/landlock.h`; the system calls have the same numbers on all architectures.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_SINCE = {13: 2, 14: 3, 15: 5}
"""Which version of the interface brought which right."""
_MAKE_SPECIAL = 1 << 6 | 1 << 9 | 1 << 10 | 1 << 11
"""Character devices, sockets, pipes and block devices: nobody may make one."""
_CHANGING = _WRITE_FILE | sum(1 << bit for bit in range(4, 14)) & ~_MAKE_SPECIAL | _TRUNCATE
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_TCP = 0b11
_SIGNALS_AND_SOCKETS = 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The version of the kernel's interface; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc().syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION_FLAG)))


def restrict(writable: Iterable[Path], unreadable: Iterable[Path]) -> bool:
    """From now on this thread and what it starts change files only below `writable`, read nothing below `unreadable`
    (but what is writable), start no program, open no TCP connection and signal nobody outside; whether the kernel can.

    A part of it is left out where the kernel is too old for that part.
    """
    abi = version()
    if abi == 0:
        return False
    known = sum(1 << bit for bit in range(16) if _SINCE.get(bit, 1) <= abi)
    handled = known & ~_IOCTL  # devices of a GPU need theirs
    rules = _Ruleset(handled, _TCP if abi >= 4 else 0, _SIGNALS_AND_SOCKETS if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    libc = _libc()
    ruleset = _checked(libc.syscall(_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), 0))
    try:
        allow = _adder(libc, ruleset, handled)
        allow(Path("/"), _READ_DIR)
        for path in readable_beside({path.resolve() for path in unreadable}):
            allow(path, _READ_FILE | _READ_DIR)
        for path in writable:
            allow(path, _CHANGING | _READ_FILE | _READ_DIR)
        _checked(libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def readable_beside(hidden: set[Path], directory: Path = Path("/")) -> Iterator[Path]:
    """Paths that together hold everything below `directory` but what is in or below `hidden` (resolved).

    Symbolic links are left out: what they lead to is reached by its own path.
    """
    if not hidden:
        yield directory
        return
    for entry in os.scandir(directory):
        path = Path(entry.path)
        if path in hidden or entry.is_symlink():
            continue
        below = {other for other in hidden if path in other.parents}
        if not below:
            yield path
        elif os.access(path, os.R_OK | os.X_OK):
            yield from readable_beside(below, path)


def _adder(libc: ctypes.CDLL, ruleset: int, handled: int) -> Callable[[Path, int], None]:
    def allow(path: Path, rights: int) -> None:
        try:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:  # removed since it was listed, or not visible to this user
            return
        try:
            kept = rights & handled & (~0 if path.is_dir() else _OF_FILES)
            rule = _Beneath(kept, handle)
            _checked(libc.syscall(_ADD, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0))
        finally:
            os.close(handle)

    return allow


def _checked(code: int) -> int:
    if code < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return code


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
