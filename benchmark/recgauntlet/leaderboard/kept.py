"""What was worked out once, kept as data under names that say all that it depends on.

A file holds the entries that were asked for together, such as those of a board: a line for each, with its name, the
SHA-256 of its name and text, and its text, which is JSON. An entry that was cut off, edited, renamed or never was one
does not fit its sum and counts for nothing, as does one whose text is not what was wanted: then it is worked out again.
Nothing in an entry is ever run. A directory that cannot be read or written to keeps nothing, which costs time and no
result.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

_ENDING = ".entries"
_DAYS = 90
"""After so many days in which nobody asked for any of its entries, a file is removed."""


class Entry(BaseModel):
    """What an entry holds: whatever is made of its text is what it was made of, to the last bit."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    def text(self) -> bytes:
        """The entry's text, in one line."""
        return self.model_dump_json().encode()


Content = TypeVar("Content", bound=Entry)


class Kept:
    """The entries in `directory` that this very code worked out, for whatever board; those that are asked for are kept
    for `boards`, the directories of one.

    A context manager: at its end what was found and what is new is written. What is no longer asked for goes, but not
    where an error or Ctrl-C came in between.
    """

    def __init__(self, directory: Path, boards: Sequence[Path]) -> None:
        told = json.dumps([code_sum(), [str(board.resolve()) for board in boards]])
        self._directory = directory
        self._file = directory / f"{code_sum()[:16]}-{hashlib.sha256(told.encode()).hexdigest()[:16]}{_ENDING}"
        self._lines: dict[bytes, bytes] = {}
        self._asked: dict[bytes, bytes] = {}
        self._new = False

    def __enter__(self) -> Self:
        """Read what is kept."""
        self._lines, self._asked, self._new = {}, {}, False
        with contextlib.suppress(OSError):
            for path in sorted(self._directory.glob(f"{code_sum()[:16]}-*{_ENDING}")):
                with contextlib.suppress(OSError):
                    self._lines |= {line[:64]: line[65:] for line in path.read_bytes().split(b"\n")}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            if kind is None and (self._asked or self._lines):
                self._write(self._asked)
                self._tidy()
            elif self._new:
                self._write(self._lines | self._asked)

    def __bool__(self) -> bool:
        """Whether there is anything to be found."""
        return bool(self._lines)

    def find(self, kind: type[Content], *parts: object) -> Content | None:
        """What is kept of the `kind` under `parts`, which JSON can hold; None where that is nothing, or nothing that is
        sound."""
        name = _name(kind, parts)
        line = self._lines.get(name, b"")
        text = line[65:]
        if line[:64] != _sum(name, text):
            return None
        with contextlib.suppress(ValidationError):
            found = kind.model_validate_json(text)
            self._asked[name] = line
            return found
        return None

    def keep(self, kind: type[Entry], text: bytes, *parts: object) -> None:
        """Keep the `text` of an entry of the `kind` under `parts`."""
        name = _name(kind, parts)
        self._asked[name] = _sum(name, text) + b" " + text
        self._new = True

    def _write(self, lines: dict[bytes, bytes]) -> None:
        """Write the file, if it would have other lines than it has, at once or not at all."""
        content = b"\n".join(name + b" " + line for name, line in sorted(lines.items()))
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._file.is_file() and self._file.read_bytes() == content:
            os.utime(self._file)
            return
        handle, part = tempfile.mkstemp(dir=self._directory, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            Path(part).replace(self._file)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise

    def _tidy(self) -> None:
        """Remove the files that nobody asked for in a long time, such as those of former versions of the code."""
        oldest = time.time() - _DAYS * 86400
        for path in self._directory.glob(f"*{_ENDING}"):
            if path.stat().st_mtime < oldest:
                path.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def code_sum() -> str:
    """A SHA-256 of all code that has a part in a number: this package's, and the versions of those that it computes
    with. So whoever changes a number by changing the code finds no entry of the former code."""
    package = Path(__file__).parent
    digest = hashlib.sha256("\n".join(f"{name} {version(name)}" for name in ("numpy", "pydantic")).encode())
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _name(kind: type[Entry], parts: Sequence[object]) -> bytes:
    told = json.dumps([code_sum(), kind.__qualname__, parts], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest().encode()


def _sum(name: bytes, text: bytes) -> bytes:
    return hashlib.sha256(name + text).hexdigest().encode()
