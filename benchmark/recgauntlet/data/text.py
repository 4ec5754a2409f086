"""One spelling for one text: decoding and normalizing, so that every mirror of a source gives the same table."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from recgauntlet.core.errors import DataError

_QUOTES = str.maketrans({"‘": "'", "’": "'", "‚": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "´": "'", "`": "'"})


def normalize(text: str) -> str:
    """`text` in Unicode's NFC, control characters and runs of white space as one blank, none at the ends."""
    composed = unicodedata.normalize("NFC", text)
    return " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in composed).split())


def straighten(text: str) -> str:
    """`normalize(text)` with typographic quotation marks and apostrophes as the plain ones of a keyboard."""
    return normalize(text.translate(_QUOTES))


def decode(content: bytes, where: str | Path, encoding: str = "utf-8") -> str:
    """`content` as text, a byte order mark left out.

    Raises
    ------
    DataError
        Naming the line that is not in `encoding`, or that holds a NUL byte (a sign of a damaged file).
    """
    if b"\0" in content:
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise DataError(
            "holds a NUL byte, so it is no text file or is damaged",
            where=where,
            field=f"line {line}",
            remedy="download the file again, or export it as plain text",
        )
    try:
        return content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(
            f"is not {encoding.upper()} text (byte {error.start})",
            where=where,
            field=f"line {line}",
            remedy=f"save the file as {encoding.upper()}, or download it again",
        ) from error


def separated(text: str, separator: str, columns: int, where: str | Path) -> list[list[str]]:
    """The lines of `text` cut at `separator` (no quoting), each of exactly `columns` fields; empty lines left out.

    Raises
    ------
    DataError
        Naming the first line with another number of fields, or an empty or cut-off file.
    """
    remedy = "the file is truncated or of another format: download it again"
    rows = [line.rstrip("\r").split(separator) for line in text.split("\n") if line.strip()]
    if not rows:
        raise DataError("is empty", where=where, remedy=remedy)
    for number, row in enumerate(rows, start=1):
        if len(row) != columns:
            raise DataError(
                f"has {len(row)} fields where {columns} are expected",
                where=where,
                field=f"line {number}",
                remedy=remedy,
            )
    return rows
