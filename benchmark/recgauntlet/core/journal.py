"""Journal of an evaluation on disk, one line per step, so that a killed run continues where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from recgauntlet.core.errors import OutputError

Result = TypeVar("Result", bound=BaseModel)


class Journal:
    """A file of one JSON line a finished step, under a header that says what the steps belong to.

    A journal with another header is started anew. A line that was cut off when the process died is dropped. Without a
    path nothing is kept.
    """

    def __init__(self, path: Path | None = None, header: dict[str, str] | None = None) -> None:
        self._path = path
        self._header = json.dumps(header or {}, sort_keys=True)
        self._done = _read(path, self._header) if path else {}

    def do(self, key: str, kind: type[Result], compute: Callable[[], Result]) -> Result:
        """The result of the step `key`: as the journal has it, or computed and written down."""
        found = self.found(key, kind)
        if found is not None:
            return found
        result = compute()
        self.keep(key, result)
        return result

    def found(self, key: str, kind: type[Result]) -> Result | None:
        """The result of the step `key` as the journal has it; None where it has none, or one that other code wrote."""
        try:
            return kind.model_validate_json(self._done[key]) if key in self._done else None
        except ValidationError:
            return None

    def keep(self, key: str, result: BaseModel) -> None:
        """Write down the result of the step `key`."""
        if not self._path:
            return
        text = result.model_dump_json()
        line = json.dumps([key, text])
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = not self._done
            with self._path.open("w" if new else "a", encoding="utf-8") as file:
                file.write(f"{self._header}\n{line}\n" if new else f"{line}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OutputError(
                f"cannot be written ({error.strerror})",
                where=self._path,
                remedy="free some disk space or choose another output directory (--out)",
            ) from error
        self._done[key] = text

    def remove(self) -> None:
        """The evaluation is over: what it found stands in the record."""
        if self._path:
            self._path.unlink(missing_ok=True)


def _read(path: Path, header: str) -> dict[str, str]:
    try:
        content = path.read_bytes()
    except OSError:
        return {}
    whole = content[: content.rfind(b"\n") + 1]
    lines = whole.decode(errors="replace").splitlines()
    done: dict[str, str] = {}
    if not lines or lines[0] != header:
        return done
    for line in lines[1:]:
        try:
            key, text = json.loads(line)
        except ValueError:
            break
        done[key] = text
    if len(content) != len(whole):  # the torn line goes, so that the next one starts on a line of its own
        path.write_bytes(whole)
    return done
