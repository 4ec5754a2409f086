"""Packed cells on disk: the words of all cells of a directory in one file, the columns of each in a file of its own.

`cells.jsonl.xz` has a line for each cell, `{"file":"nrms-pgd-0.cell","record":{...}}`; the file `nrms-pgd-0.cell` is a
zlib stream of the columns. The words of cells are alike, so together they squeeze to a twentieth. See
`recgauntlet.records.packing`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from recgauntlet.core.errors import RecordError
from recgauntlet.records.digest import digest_of, read_bytes
from recgauntlet.records.packing import REMEDY, pack, unpack, unpacked_file
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.squeezed import deflated, inflated, squeezed, unsqueezed

Made = TypeVar("Made")
CELL = ".cell"
WORDS = "cells.jsonl.xz"
_LINE = re.compile(rb'\{"file":"([A-Za-z0-9._+-]+)","record":(\{.*\})\}')
_COLUMNS_LIMIT = 256_000_000


def packed_cells(cells: Mapping[str, RunRecord]) -> dict[str, bytes]:
    """The files of a directory that holds `cells` (by file names that end in `.cell`), each made by `as_released`."""
    lines, files = [], {}
    for name, record in sorted(cells.items()):
        words, columns = pack(record)
        lines.append(b'{"file":"%b","record":%b}\n' % (name.encode(), words))
        files[name] = deflated(columns)
    return {WORDS: squeezed(b"".join(lines)), **files}


def words_of(content: bytes, where: Path) -> dict[str, bytes]:
    """The words of each cell by the name of its file, from the bytes of a file `cells.jsonl.xz`.

    Raises
    ------
    RecordError
        Where the file is cut off, unfolds to too much, or is none.
    """
    found: dict[str, bytes] = {}
    for number, line in enumerate(unsqueezed(content, where).splitlines(), start=1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise RecordError("is no line of a cell", where=where, field=f"line {number}", remedy=REMEDY)
        name = match[1].decode()
        if name in found:
            raise RecordError(f"has {name} twice", where=where, field=f"line {number}", remedy=REMEDY)
        found[name] = match[2]
    return found


def cell_of(words: bytes, content: bytes, where: Path) -> RunRecord:
    """The record of the cell file `where`, whose bytes are `content`; neither its digest nor its columns are checked.

    Raises
    ------
    RecordError
        Naming `where`.
    """
    return _unpacked(unpack, words, content, where)


def file_of(words: bytes, content: bytes, where: Path) -> bytes:
    """The file of the record that `cell_of` gives, as `recgauntlet.records.digest.to_bytes` makes it; RecordError as
    there."""
    return _unpacked(unpacked_file, words, content, where)


def read_cell(path: Path, words: Mapping[str, bytes] | None = None) -> RunRecord:
    """The record of a cell file, its digest checked; `words` are those of its directory, read where they are not given.

    Raises
    ------
    RecordError
        Where the file or its words are missing, broken or were changed.
    """
    if words is None:
        words = read_words(path.parent)
    if path.name not in words:
        raise RecordError(f"has no words in {WORDS} beside it", where=path, remedy=REMEDY)
    record = cell_of(words[path.name], read_bytes(path), path)
    check_digest(record, path)
    return record


def check_digest(record: RunRecord, path: Path) -> None:
    """RecordError, naming the cell file `path`, where the record's digest is not that of its content."""
    if record.digest != digest_of(record.model_dump(mode="json")):
        raise RecordError(
            "was changed after it was written (its digest does not match)", where=path, field="digest", remedy=REMEDY
        )


def _unpacked(unpacking: Callable[[bytes, bytes], Made], words: bytes, content: bytes, where: Path) -> Made:
    columns = inflated(content, where, limit=_COLUMNS_LIMIT)
    try:
        return unpacking(words, columns)
    except RecordError as error:
        raise RecordError(error.problem, where=where, remedy=error.remedy) from error


def read_words(directory: Path) -> dict[str, bytes]:
    """The words of the cells of a directory; RecordError as `words_of`, and where there is no such file."""
    path = directory / WORDS
    return words_of(read_bytes(path), path)
