"""Locks that keep runs out of each other's directories."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from recgauntlet.core.errors import OutputError

_NAME = ".lock"


@contextlib.contextmanager
def locked(directory: Path, shard: str = "") -> Iterator[bool]:
    """Keep other runs out of `directory` while this one writes into it. The lock ends with the process, however that
    ends. Gives false where there are no locks: on Windows, and on some network file systems.

    With `shard` ("3-of-8"), other shards of the same division may write beside it, and nobody else.

    Raises
    ------
    OutputError
        Where another run holds the lock, or its file cannot be opened.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield False
        return
    path = directory / (f"{_NAME}-{shard}" if shard else _NAME)
    with contextlib.ExitStack() as stack:
        while True:
            file = stack.enter_context(_opened(path))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise _taken(directory, file) from error
            except OSError:  # a file system without locks
                path.unlink()
                yield False
                return
            if os.fstat(file.fileno()).st_nlink:  # else its last holder removed it after it was opened here
                break
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        stack.callback(path.unlink)
        # its own lock first: of two runs that start at once at least one finds the other's
        for other in _others(directory, path, shard):
            with contextlib.suppress(FileNotFoundError), other.open("r") as held:
                try:
                    fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise _taken(directory, held) from error
        yield True


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("a+")
    except PermissionError as error:
        remedy = "name another directory with --out, or let this user write to the file"
        raise OutputError("cannot be opened", where=path, remedy=remedy) from error


def _others(directory: Path, own: Path, shard: str) -> list[Path]:
    """The locks of runs that may not write at the same time."""
    division = shard.partition("-of-")[2]
    locks = [path for path in sorted(directory.glob(f"{_NAME}*")) if path != own]
    return [path for path in locks if not shard or path.name.partition("-of-")[2] != division]


def _taken(directory: Path, held: IO[str]) -> OutputError:
    held.seek(0)
    return OutputError(
        f"another run ({held.read(200) or 'just started'}) is writing into this directory",
        where=directory,
        field="--out",
        remedy="wait until it has ended, or stop it; or name another directory with --out",
    )
