"""Squeezing files, and unfolding them again within limits, since a small file can unfold to more than a machine has."""

from __future__ import annotations

import lzma
import zlib
from pathlib import Path

from recgauntlet.core.errors import RecordError

SQUEEZED = ".xz"
LIMIT = 512_000_000
"""Bytes that a squeezed file may unfold to."""
_MEMORY = 128_000_000
"""Bytes that unfolding may need besides: the format lets a file ask for 4 GiB."""
_REMEDY = "restore the file from where it was published"


def squeezed(content: bytes) -> bytes:
    """`content` as an xz file. The same content and version of liblzma give the same bytes."""
    return lzma.compress(content, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, preset=6)


def unsqueezed(content: bytes, where: Path, *, limit: int = LIMIT) -> bytes:
    """What an xz file holds.

    Raises
    ------
    RecordError
        Naming `where` the file is cut off, none, holds more than `limit` bytes or asks for too much memory.
    """
    unfolder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_MEMORY)
    try:
        raw = unfolder.decompress(content, limit + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise RecordError(f"cannot be unfolded ({error})", where=where, remedy=_REMEDY) from error
    return _whole(raw, unfolder.eof and not unfolder.unused_data, where, limit)


def deflated(content: bytes) -> bytes:
    """`content` as a zlib stream. The same content and version of zlib give the same bytes."""
    return zlib.compress(content, 9)


def inflated(content: bytes, where: Path, *, limit: int = LIMIT) -> bytes:
    """What a zlib stream holds; RecordError as `unsqueezed`."""
    unfolder = zlib.decompressobj()
    try:
        raw = unfolder.decompress(content, limit + 1)
    except zlib.error as error:
        raise RecordError(f"cannot be unfolded ({error})", where=where, remedy=_REMEDY) from error
    return _whole(raw, unfolder.eof and not unfolder.unused_data, where, limit)


def _whole(raw: bytes, complete: bool, where: Path, limit: int) -> bytes:
    if len(raw) > limit:
        raise RecordError(f"unfolds to more than {limit:,} bytes", where=where, remedy=_REMEDY)
    if not complete:
        raise RecordError("is cut off, or something stands behind its end", where=where, remedy=_REMEDY)
    return raw
