"""Reading a directory of records, best known attacks and merged submissions, good and broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recgauntlet.core.errors import RecordError
from recgauntlet.core.files import write_atomically
from recgauntlet.core.spec import WORKPLACES
from recgauntlet.records.best_known import BestKnown
from recgauntlet.records.digest import load_json, to_bytes
from recgauntlet.records.manifest import MANIFEST, is_manifest, parse_manifest
from recgauntlet.records.manifest import REMEDY as MANIFEST_REMEDY
from recgauntlet.records.packed_cells import CELL
from recgauntlet.records.places import Place, frozen_places, loose_places
from recgauntlet.records.schema import REMEDY, RunRecord, parse_record
from recgauntlet.records.submission.manifest import KIND as SUBMISSION

SKIPPED_DIRECTORIES = frozenset({"checkpoints", WORKPLACES})


@dataclass(frozen=True)
class Results:
    """What a directory holds: `records` with the file of each, the files that are `broken` with the reason, and the
    best known attacks, which are no records."""

    records: tuple[tuple[Path, RunRecord], ...]
    broken: tuple[tuple[Path, RecordError], ...]
    best_known: tuple[tuple[Path, BestKnown], ...] = ()

    def __iter__(self) -> Iterator[RunRecord]:
        return (record for _, record in self.records)

    def __len__(self) -> int:
        return len(self.records)


Found = RunRecord | BestKnown | RecordError
"""What a place turned out to hold, or why it does not count."""


def write_record(record: RunRecord, path: Path) -> None:
    """Write `record` to `path` at once or not at all.

    Raises
    ------
    OutputError
        Where the directory cannot be written or the disk is full; nothing is left behind.
    """
    write_atomically(path, to_bytes(record.sealed()))


def read_record(path: Path) -> RunRecord:
    """Read and check a record: a JSON file, or a cell of a frozen release (`*.cell`).

    Raises
    ------
    RecordError
        Where the file is truncated, has another schema version, unknown or missing fields, or was edited.
    """
    if path.suffix == ".cell":
        from recgauntlet.records.packed_cells import read_cell  # which is made of records

        return read_cell(path)
    return parse_record(load_json(path, "a record", REMEDY), path)


def read_here(places: Sequence[Place]) -> list[Found]:
    """What each of `places` holds, read one after the other."""
    return [_read(place) for place in places]


def read_records(directory: Path, read: Callable[[Sequence[Place]], Sequence[Found]] = read_here) -> Results:
    """Every record and every best known attack below `directory`, in order of path; weights and the places where cells
    work are left out.

    They are `*.json` and `*.json.xz` files, and packed cells (`*.cell`). Of a frozen release (a directory with a
    manifest) only the files count that its manifest lists, by their sums; so it is with the submissions merged into it,
    of which the plugin's own records count. A directory that does not exist holds none. A
    broken file never hides the others: it is returned with its error. `read` says how places are read
    (`recgauntlet.leaderboard.workshop` has a quicker way for many).

    Raises
    ------
    RecordError
        Where `directory` is a file.
    """
    if directory.is_file():
        raise RecordError(
            "is a file", where=directory, remedy="give the directory that holds the records (results/...)"
        )
    places: list[Place] = []
    records: list[tuple[Path, RunRecord]] = []
    broken: list[tuple[Path, RecordError]] = []
    closed: list[Path] = []
    for path in sorted(directory.rglob(MANIFEST)):
        if _is_skipped(path, directory):
            continue
        try:
            content = load_json(path, "a manifest", MANIFEST_REMEDY)
            if content.get("kind") == SUBMISSION:
                own, faults = _merged(path.parent)
                records += own
            elif is_manifest(content) and not any(path.is_relative_to(place) for place in closed):
                frozen, faults = frozen_places(path.parent, parse_manifest(content, path))
                places += frozen
            else:
                continue
        except RecordError as error:
            broken.append((path, error))
            continue
        closed.append(path.parent)
        broken += faults
    paths = [path for path in record_paths(directory) if not any(path.is_relative_to(place) for place in closed)]
    loose, faults = loose_places(paths)
    broken += faults
    places += loose
    best_known: list[tuple[Path, BestKnown]] = []
    for place, found in zip(places, read(places), strict=True):
        if isinstance(found, RunRecord):
            records.append((place.path, found))
        elif isinstance(found, BestKnown):
            best_known.append((place.path, found))
        else:
            broken.append((place.path, found))

    def in_order(pairs: list[tuple[Path, Any]]) -> tuple[tuple[Path, Any], ...]:
        return tuple(sorted(pairs, key=lambda pair: pair[0].relative_to(directory).as_posix()))

    return Results(in_order(records), in_order(broken), in_order(best_known))


def record_paths(directory: Path) -> list[Path]:
    """The files outside of frozen releases that `read_records` reads, sorted by their path below `directory`."""
    paths = {path for ending in ("*.json", "*.json.xz", f"*{CELL}") for path in directory.rglob(ending)}
    paths = {path for path in paths if path.is_file() and path.name != MANIFEST and not _is_skipped(path, directory)}
    return sorted(paths, key=lambda path: path.relative_to(directory).as_posix())


def _is_skipped(path: Path, directory: Path) -> bool:
    return not SKIPPED_DIRECTORIES.isdisjoint(path.relative_to(directory).parts[:-1])


def _read(place: Place) -> Found:
    try:
        return place.read()
    except RecordError as error:
        return error


def _merged(directory: Path) -> tuple[Sequence[tuple[Path, RunRecord]], Sequence[tuple[Path, RecordError]]]:
    from recgauntlet.records.submission.merged import merged_records  # which needs torch, and few directories have one

    return merged_records(directory)
