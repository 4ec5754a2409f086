"""Copies of records for the site, as JSON, which any process can make of those that are packed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from recgauntlet.leaderboard.unopened import Origin, UnopenedRecord
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.work import Work

_WORTH = 200
"""Packed records from which on it is worth to start processes."""
_BATCH = 256


def copies_of(records: Sequence[tuple[str, Path, RunRecord]], work: Work) -> Iterator[tuple[str, bytes]]:
    """The name and the content of the copy of each record, given with the name and the file that it was read from: the
    very file, or what it unpacks to where it is packed (in a release)."""
    packed = [(name, record) for name, path, record in records if path.suffix != ".json"]
    origins = [record.origin for _, record in packed if isinstance(record, UnopenedRecord)]
    unpacked = _unpacked(origins, work) if len(origins) == len(packed) else (to_bytes(record) for _, record in packed)
    for name, path, _ in records:
        if path.suffix == ".json":
            yield name, path.read_bytes()
    yield from zip((name for name, _ in packed), unpacked, strict=True)


def _unpacked(origins: Sequence[Origin], work: Work) -> Iterator[bytes]:
    """The files of all, of which two batches at most are in memory: one is taken while the next is made."""
    worth = len(origins) >= _WORTH
    begun: Iterator[bytes] = iter(())
    for start in range(0, len(origins), _BATCH):
        following = work(Origin.file, origins[start : start + _BATCH], worth=worth)
        yield from begun
        begun = following
    yield from begun
