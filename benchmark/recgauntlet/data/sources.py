"""Where raw files come from: a directory, an archive, a wheel; tried in order, and told apart when they fail."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from recgauntlet.core.errors import DataError

T = TypeVar("T")


class MirrorError(Exception):
    """A mirror has nothing to give, for the reason in the message: the next one is tried."""


@dataclass(frozen=True)
class RawFile:
    """The bytes of one file, and what to call it in a message."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Mirror:
    """One place a source may be read from.

    `read` returns the raw files by role, or raises MirrorError where the next mirror is to be tried. A file that
    is there but damaged is a DataError and ends the search: no other source replaces it.
    """

    name: str
    read: Callable[[], dict[str, RawFile]]


def first_of(mirrors: Sequence[Mirror], what: str) -> dict[str, RawFile]:
    """The raw files of the first mirror that has them.

    Raises
    ------
    DataError
        Where none has, naming every mirror that was tried and why it failed.
    """
    failures = []
    for mirror in mirrors:
        try:
            return mirror.read()
        except MirrorError as reason:
            failures.append(f"{mirror.name}: {reason}")
    tried = "".join(f"\n  - {failure}" for failure in failures)
    raise DataError(
        f"no mirror of {what} could be read; tried in this order:{tried}",
        where=what,
        remedy="mend one of them, or name a directory that holds the files with --dir (recgauntlet data fetch --help)",
    )


def named_directory(directory: Path | None) -> Path:
    """The directory that the user named; MirrorError if none was named; DataError if it is no directory."""
    if directory is None:
        raise MirrorError("none was named (--dir)")
    if not directory.is_dir():
        raise DataError("is not a directory", where=directory, remedy="name an existing directory with --dir")
    return directory


def find_in(directory: Path, names: Sequence[str]) -> Path | None:
    """The first of `names` that lies in `directory` or one level below it, or None."""
    for name in names:
        for path in (directory / name, *sorted(directory.glob(f"*/{name}"))):
            if path.is_file():
                return path
    return None


def read_raw(path: Path) -> RawFile:
    """The file at `path`; DataError where it cannot be read."""
    try:
        return RawFile(str(path), path.read_bytes())
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror})", where=path, remedy="check the file and its permissions"
        ) from error


def files_in(directory: Path, roles: dict[str, str]) -> dict[str, RawFile]:
    """The files `roles` (role to name) in `directory` or one level below; MirrorError unless all are there."""
    found = {role: find_in(directory, [name]) for role, name in roles.items()}
    missing = [roles[role] for role, path in found.items() if path is None]
    if missing:
        raise MirrorError(f"{directory} has no {' and no '.join(missing)}")
    return {role: read_raw(path) for role, path in found.items() if path is not None}


def members(archive: Path, roles: dict[str, str]) -> dict[str, RawFile]:
    """The members `roles` (role to the end of the member's path) of a zip file; nothing is unpacked to disk.

    Raises
    ------
    DataError
        Where the archive is truncated, no zip file, or lacks a member.
    """
    remedy = f"delete {archive.name} and fetch it again (recgauntlet data fetch)"
    try:
        with zipfile.ZipFile(archive) as opened:
            names = opened.namelist()
            out = {}
            for role, ending in roles.items():
                member = next((n for n in names if n == ending or n.endswith(f"/{ending}")), None)
                if member is None:
                    raise DataError(
                        f"holds no file {ending}", where=archive, remedy="this is another archive: " + remedy
                    )
                out[role] = RawFile(f"{archive}!{member}", opened.read(member))
            return out
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"is truncated or no zip file ({error})", where=archive, remedy=remedy) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error})", where=archive, remedy=remedy) from error
