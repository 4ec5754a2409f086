"""Linux's seccomp: system calls that Landlock does not judge are refused to a process for good, to native code too.

Source: the kernel's `Documentation/userspace-api/seccomp_filter.rst`, and `asm/unistd.h` for the numbers. A filter sees
numbers, not paths: what it refuses is refused inside the process's own directory too.
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from typing import NamedTuple

_NO_NEW_PRIVILEGES = 38
_SET_FILTER, _ALL_THREADS = 1, 1
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001
"""Go on; or return the error EPERM."""
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Where a call's description has these; of the argument, the lower half on a little-endian machine."""
_OTHER_INTERFACE = 0x40000000
"""From here on numbers are those of x32, an interface of its own on x86."""


class _Machine(NamedTuple):
    architecture: int
    seccomp: int
    refused: tuple[int, ...]
    signals: tuple[int, ...]
    """`kill` and `tgkill`, which may go to the process itself."""


_ON_ALL = (424, 425, 452, 463, 466, 469)
"""pidfd_send_signal, io_uring_setup, fchmodat2, setxattrat, removexattrat, file_setattr"""
_MACHINES = {
    "x86_64": _Machine(
        0xC000003E,
        317,
        (
            *(41, 90, 91, 268),  # socket, chmod, fchmod, fchmodat
            *(92, 93, 94, 260),  # chown, fchown, lchown, fchownat
            *(132, 235, 261, 280),  # utime, utimes, futimesat, utimensat
            *(188, 189, 190, 197, 198, 199),  # setxattr and removexattr with l and f
            *(133, 259),  # mknod, mknodat
            *(200, 129, 297),  # tkill, rt_sigqueueinfo, rt_tgsigqueueinfo
        ),
        (62, 234),
    ),
    "aarch64": _Machine(
        0xC00000B7,
        277,
        (
            *(198, 52, 53),  # socket, fchmod, fchmodat
            *(55, 54),  # fchown, fchownat
            88,  # utimensat
            *(5, 6, 7, 14, 15, 16),  # setxattr and removexattr with l and f
            33,  # mknodat
            *(130, 138, 240),  # tkill, rt_sigqueueinfo, rt_tgsigqueueinfo
        ),
        (129, 131),
    ),
}


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("value", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


def refuse_calls() -> bool:
    """From now on this process and what it starts open no socket, change no mode, owner, times or extended attributes
    of files, make no device or pipe files, use no io_uring, and signal nobody but itself; whether the kernel can."""
    machine = _MACHINES.get(platform.machine())
    if sys.platform != "linux" or machine is None:
        return False
    program = [_Instruction(*line) for line in _filter(machine, os.getpid())]
    lines = (_Instruction * len(program))(*program)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    filtered = _Program(len(program), lines)
    return bool(libc.syscall(machine.seccomp, _SET_FILTER, _ALL_THREADS, ctypes.byref(filtered)) == 0)


def _filter(machine: _Machine, own: int) -> Iterator[tuple[int, int, int, int]]:
    """The filter's instructions: code, lines to skip where it holds, lines to skip where not, value."""
    yield _LOAD, 0, 0, _ARCHITECTURE
    yield _EQUAL, 1, 0, machine.architecture
    yield _RETURN, 0, 0, _REFUSE
    yield _LOAD, 0, 0, _NUMBER
    yield _AT_LEAST, 0, 1, _OTHER_INTERFACE
    yield _RETURN, 0, 0, _REFUSE
    for number in (*machine.refused, *_ON_ALL):
        yield _EQUAL, 0, 1, number
        yield _RETURN, 0, 0, _REFUSE
    for number in machine.signals:
        yield _EQUAL, 0, 4, number
        yield _LOAD, 0, 0, _FIRST_ARGUMENT
        yield _EQUAL, 0, 1, own
        yield _RETURN, 0, 0, _ALLOW
        yield _RETURN, 0, 0, _REFUSE
    yield _RETURN, 0, 0, _ALLOW
