"""What was worked out once, kept as data under names that say all that it depends on.

An entry is a JSON text in a file of its own, below a line with the SHA-256 of its name and text. One that was cut off,
edited, renamed or never an entry does not fit its line and counts for nothing, as does one whose text is not what was
wanted: then it is worked out again and written anew. Nothing in an entry is ever run. A directory that cannot be
written to keeps nothing, which costs time and no result.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

_DAYS = 90
"""After so many days in which nobody asked for it, an entry is removed."""


class Entry(BaseModel):
    """What an entry holds: whatever is made of its text is what it was made of, to the last bit."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="constants")

    def text(self) -> bytes:
        """The entry's text."""
        return self.model_dump_json().encode()


Content = TypeVar("Content", bound=Entry)


@dataclass(frozen=True)
class Kept:
    """The entries in `directory` that were worked out by this very code."""

    directory: Path

    def find(self, kind: type[Content], *parts: object) -> Content | None:
        """What is kept of the `kind` under `parts`, which JSON can hold; None where that is nothing, or nothing that is
        sound."""
        name = self._name(kind, parts)
        path = self._path(name)
        try:
            line, _, text = path.read_bytes().partition(b"\n")
            if line != _line(name, text):
                return None
            found = kind.model_validate_json(text)
            os.utime(path)
        except (OSError, ValidationError):
            return None
        return found

    def keep(self, kind: type[Entry], text: bytes, *parts: object) -> None:
        """Keep the `text` of an entry of the `kind` under `parts`."""
        name = self._name(kind, parts)
        path = self._path(name)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, part = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_line(name, text) + b"\n" + text)
                Path(part).replace(path)
            except BaseException:
                Path(part).unlink(missing_ok=True)
                raise

    def tidy(self) -> None:
        """Remove what nobody asked for in a long time, such as entries of former versions of the code."""
        oldest = time.time() - _DAYS * 86400
        with contextlib.suppress(OSError):
            for path in self.directory.glob("*/*"):
                with contextlib.suppress(OSError):
                    if path.stat().st_mtime < oldest:
                        path.unlink()

    def _name(self, kind: type[Entry], parts: Sequence[object]) -> str:
        told = json.dumps([code_sum(), kind.__qualname__, parts], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()

    def _path(self, name: str) -> Path:
        return self.directory / name[:2] / name[2:]


@lru_cache(maxsize=1)
def code_sum() -> str:
    """A SHA-256 of all code that has a part in a number: this package's, and the versions of those that it computes
    with. So whoever changes a number by changing the code finds no entry of the former code."""
    package = Path(__file__).parent
    digest = hashlib.sha256("\n".join(f"{name} {version(name)}" for name in ("numpy", "pydantic")).encode())
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _line(name: str, text: bytes) -> bytes:
    return hashlib.sha256(name.encode() + text).hexdigest().encode()
