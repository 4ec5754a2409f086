"""JSON files that say by a digest that nothing was changed since they were written, and reading them with checks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from recgauntlet.core.errors import RecordError
from recgauntlet.records.indented import indented
from recgauntlet.records.squeezed import SQUEEZED, unsqueezed

Content = TypeVar("Content", bound=BaseModel)
_DIGEST = b'\n "digest": "'
"""How the line of the digest begins: no other has a single blank in front of its name."""
_DEEPEST = 10
"""Blanks in front of a line of a record, at most."""


def digest_of(content: dict[str, Any]) -> str:
    """SHA-256 of everything in `content` but its field `digest`."""
    body = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def to_bytes(content: BaseModel) -> bytes:
    """The file of `content`: the same content gives the same bytes."""
    return indented(content.model_dump(mode="json")) + b"\n"


def written_digest(text: bytes) -> str | None:
    """The digest in `text` if that is a file as `to_bytes` lays it out and the digest fits; found out without reading
    it as JSON.

    The digest was made of the same text without line breaks, indents and blanks between names and values. Where these
    cannot be told from blanks within a text at a glance, or anything else is unusual, the answer is None: then the
    content has to be read and written again (`digest_of`) to know. So of a text that is JSON nothing but its layout may
    differ from what was sealed.
    """
    start = text.find(_DIGEST) + len(_DIGEST)
    end = start + 64
    if start < len(_DIGEST) or text[end : end + 3] != b'",\n' or (b"\\" in text and b'\\"' in text):
        return None
    body = np.frombuffer(text[: start - len(_DIGEST)] + text[end + 2 :], dtype=np.uint8)
    blank, layout = body == ord(" "), body == ord("\n")
    for _ in range(_DEEPEST):
        layout[1:] |= layout[:-1] & blank[1:]
    colons = np.flatnonzero(body[1:-1] == ord(":")) + 1
    between = colons[(body[colons - 1] == ord('"')) & blank[colons + 1]]
    if blank[between - 2].any():  # a text may begin with a colon and a blank
        return None
    layout[between + 1] = True
    digest = hashlib.sha256(body[~layout].tobytes()).hexdigest()
    return digest if digest.encode() == text[start:end] else None


def load_json(path: Path, what: str, remedy: str) -> dict[str, Any]:
    """The JSON object in a file, squeezed or not (`.xz`); `what` names what it should hold ("a record").

    Raises
    ------
    RecordError
        Where there is no such file, or no whole JSON object in it.
    """
    return parse_json(read_bytes(path), path, what, remedy)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; RecordError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot be read ({error.strerror})", where=path, remedy="check the path") from error


def plain_json(content: bytes, path: Path) -> bytes:
    """The JSON text of the file `path`, whose bytes are `content`; RecordError where it cannot be unsqueezed."""
    return unsqueezed(content, path) if path.suffix == SQUEEZED else content


def parse_json(content: bytes, path: Path, what: str, remedy: str) -> dict[str, Any]:
    """The JSON object in `content`, the bytes of the file `path`; RecordError as `load_json`."""
    text = plain_json(content, path)
    try:
        found = from_json(text)  # twice as quick, but it refuses some of what the json module reads
    except ValueError:
        found = _read_slowly(text, path, remedy)
    if not isinstance(found, dict):
        raise RecordError(f"is not {what} (a JSON object is expected)", where=path, remedy=remedy)
    return found


def _read_slowly(text: bytes, path: Path, remedy: str) -> Any:
    try:
        return json.loads(text)
    except UnicodeDecodeError as error:
        raise RecordError("is not UTF-8 text", where=path, remedy=remedy) from error
    except json.JSONDecodeError as error:
        raise RecordError(
            f"is not complete JSON (line {error.lineno}: {error.msg})", where=path, remedy=remedy
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, a list in a list in a list ...
        raise RecordError(f"is no JSON of a sane size ({type(error).__name__})", where=path, remedy=remedy) from error


def validated(
    content: dict[str, Any], kind: type[Content], versions: Collection[int], path: Path, again: str, remedy: str
) -> Content:
    """`content` as a `kind`, its schema version, fields and digest checked; `again` says how to make the file anew.

    Raises
    ------
    RecordError
        Naming the file, the field at fault and what to do.
    """
    version = content.get("schema_version")
    if version not in versions:
        raise RecordError(
            f"has schema version {version!r}, this program reads {min(versions)} to {max(versions)}",
            where=path,
            field="schema_version",
            remedy=f"use the version of recgauntlet that wrote it, or {again}",
        )
    try:
        found = kind.model_validate(content)
    except ValidationError as error:
        raise RecordError(
            "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5]),
            where=path,
            field=".".join(map(str, error.errors()[0]["loc"])),
            remedy=remedy,
        ) from error
    if content.get("digest") != digest_of(content):
        raise RecordError(
            "was changed after it was written (its digest does not match)",
            where=path,
            field="digest",
            remedy=remedy,
        )
    return found
