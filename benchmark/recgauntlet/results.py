"""Reading a directory of records, best known attacks and merged submissions, good and broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recgauntlet.best_known import BestKnown, is_best_known, parse_best_known
from recgauntlet.consistency import check_record
from recgauntlet.errors import RecordError
from recgauntlet.frozen_results import read_frozen
from recgauntlet.manifest import MANIFEST, is_manifest, parse_manifest
from recgauntlet.manifest import REMEDY as MANIFEST_REMEDY
from recgauntlet.packed_cells import CELL, read_cell, read_words
from recgauntlet.record import REMEDY, RunRecord, parse_record
from recgauntlet.sealed import load_json
from recgauntlet.spec import WORKPLACES
from recgauntlet.submission.manifest import KIND as SUBMISSION
from recgauntlet.submission.merged import merged_records

SKIPPED_DIRECTORIES = frozenset({"checkpoints", WORKPLACES})


_Found = tuple[Sequence[tuple[Path, RunRecord]], Sequence[tuple[Path, RecordError]], Sequence[tuple[Path, BestKnown]]]


@dataclass(frozen=True)
class Results:
    """What a directory holds: `records` with the file of each, the files that are `broken` with the reason, and the
    best known attacks, which are no records."""

    records: tuple[tuple[Path, RunRecord], ...]
    broken: tuple[tuple[Path, RecordError], ...]
    best_known: tuple[tuple[Path, BestKnown], ...] = ()


def read_results(directory: Path) -> Results:
    """Every record and every best known attack below `directory`, in order of path; weights and the places where cells
    work are left out.

    They are `*.json` and `*.json.xz` files, and packed cells (`*.cell`). Of a frozen release (a directory with a
    manifest) only the files count that its manifest lists, by their sums; so it is with the submissions merged into it,
    of which the plugin's own records count. A directory that does not exist holds none. A
    broken file never hides the others: it is returned with its error.

    Raises
    ------
    RecordError
        Where `directory` is a file.
    """
    if directory.is_file():
        raise RecordError(
            "is a file", where=directory, remedy="give the directory that holds the records (results/...)"
        )
    records: list[tuple[Path, RunRecord]] = []
    broken: list[tuple[Path, RecordError]] = []
    best_known: list[tuple[Path, BestKnown]] = []
    closed: list[Path] = []
    for path in sorted(directory.rglob(MANIFEST)):
        if _is_skipped(path, directory):
            continue
        try:
            content = load_json(path, "a manifest", MANIFEST_REMEDY)
            if content.get("kind") == SUBMISSION:
                found: _Found = (*merged_records(path.parent), ())
            elif is_manifest(content) and not any(path.is_relative_to(place) for place in closed):
                found = read_frozen(path.parent, parse_manifest(content, path))
            else:
                continue
        except RecordError as error:
            broken.append((path, error))
            continue
        closed.append(path.parent)
        records += found[0]
        broken += found[1]
        best_known += found[2]
    words: dict[Path, dict[str, bytes]] = {}
    for path in record_paths(directory):
        if any(path.is_relative_to(place) for place in closed):
            continue
        try:
            if path.suffix == CELL:
                if path.parent not in words:
                    words[path.parent] = read_words(path.parent)
                record = read_cell(path, words[path.parent])
            else:
                content = load_json(path, "a record", REMEDY)
                if is_best_known(content):
                    best_known.append((path, parse_best_known(content, path)))
                    continue
                record = parse_record(content, path)
            check_record(record, path)
            records.append((path, record))
        except RecordError as error:
            broken.append((path, error))

    def in_order(pairs: list[tuple[Path, Any]]) -> tuple[tuple[Path, Any], ...]:
        return tuple(sorted(pairs, key=lambda pair: pair[0].relative_to(directory).as_posix()))

    return Results(in_order(records), in_order(broken), in_order(best_known))


def record_paths(directory: Path) -> list[Path]:
    """The files outside of frozen releases that `read_results` reads, sorted by their path below `directory`."""
    paths = {path for ending in ("*.json", "*.json.xz", f"*{CELL}") for path in directory.rglob(ending)}
    paths = {path for path in paths if path.is_file() and path.name != MANIFEST and not _is_skipped(path, directory)}
    return sorted(paths, key=lambda path: path.relative_to(directory).as_posix())


def _is_skipped(path: Path, directory: Path) -> bool:
    return not SKIPPED_DIRECTORIES.isdisjoint(path.relative_to(directory).parts[:-1])
