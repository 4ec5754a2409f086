"""JSON files that carry a digest of their content, plain or compressed with xz, and reading them with checks."""

from __future__ import annotations

import hashlib
import json
import lzma
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from recgauntlet.core.errors import RecordError

Content = TypeVar("Content", bound=BaseModel)
COMPRESSED = ".xz"
LARGEST = 512_000_000
"""Bytes of a file after decompression: a small file could expand to more than a machine has."""
_MEMORY = 128_000_000
"""Bytes of memory that decompression may take: the format lets a file ask for 4 GiB."""


def digest_of(content: dict[str, Any]) -> str:
    """SHA-256 of everything in `content` but its field `digest`."""
    body = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def to_bytes(content: BaseModel) -> bytes:
    """The file of `content`: the same content gives the same bytes."""
    return json.dumps(content.model_dump(mode="json"), indent=1, sort_keys=True).encode() + b"\n"


def compress(content: bytes) -> bytes:
    """`content` as an xz file. The same content and version of liblzma give the same bytes."""
    return lzma.compress(content)


def decompress(content: bytes, where: Path, *, limit: int = LARGEST) -> bytes:
    """The content of an xz file.

    Raises RecordError naming the file `where`: it is truncated, no xz file, larger than `limit` bytes after
    decompression, or asks for too much memory.
    """
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY)
    try:
        raw = decompressor.decompress(content, limit + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise _broken(f"cannot be decompressed ({error})", where) from error
    if len(raw) > limit:
        raise _broken(f"has more than {limit:,} bytes after decompression", where)
    if not decompressor.eof or decompressor.unused_data:
        raise _broken("is truncated, or has more bytes after its end", where)
    return raw


def read_bytes(path: Path) -> bytes:
    """The content of a file; RecordError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot be read ({error.strerror})", where=path, remedy="check the path") from error


def load_json(path: Path, what: str, remedy: str) -> dict[str, Any]:
    """The JSON object in a file, plain or compressed (`.xz`); `what` names what it should hold ("a record").

    Raises RecordError where there is no such file, or no whole JSON object in it.
    """
    return parse_json(read_bytes(path), path, what, remedy)


def parse_json(content: bytes, path: Path, what: str, remedy: str, *, limit: int = LARGEST) -> dict[str, Any]:
    """The JSON object in `content`, the bytes of the file `path`; RecordError as `load_json`. `limit` is that of
    `decompress`."""
    text = decompress(content, path, limit=limit) if path.suffix == COMPRESSED else content
    try:
        found = json.loads(text)
    except UnicodeDecodeError as error:
        raise RecordError("is not UTF-8 text", where=path, remedy=remedy) from error
    except json.JSONDecodeError as error:
        problem = f"is not complete JSON (line {error.lineno}: {error.msg})"
        raise RecordError(problem, where=path, remedy=remedy) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or thousands of nested lists
        problem = f"has a number or a nesting that no record has ({type(error).__name__})"
        raise RecordError(problem, where=path, remedy=remedy) from error
    if not isinstance(found, dict):
        raise RecordError(f"is not {what} (a JSON object is expected)", where=path, remedy=remedy)
    return found


def validated(
    content: dict[str, Any], kind: type[Content], versions: Collection[int], path: Path, again: str, remedy: str
) -> Content:
    """`content` as a `kind`, its schema version, fields and digest checked; `again` says how to make the file again.

    Raises RecordError naming the file, the field at fault and what to do.
    """
    version = content.get("schema_version")
    if version not in versions:
        problem = f"has schema version {version!r}, this program reads {min(versions)} to {max(versions)}"
        advice = f"use the version of recgauntlet that wrote it, or {again}"
        raise RecordError(problem, where=path, field="schema_version", remedy=advice)
    try:
        found = kind.model_validate(content)
    except ValidationError as error:
        faults = [(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()[:5]]
        problem = "; ".join(f"{field}: {message}" for field, message in faults)
        raise RecordError(problem, where=path, field=faults[0][0], remedy=remedy) from error
    if content.get("digest") != digest_of(content):
        problem = "was changed after it was written (its digest does not match)"
        raise RecordError(problem, where=path, field="digest", remedy=remedy)
    return found


def _broken(problem: str, where: Path) -> RecordError:
    return RecordError(problem, where=where, remedy="restore the file from where it was published")
