"""Reading and writing records: one by one, or all that a directory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from recgauntlet.core.errors import RecordError
from recgauntlet.core.files import write_atomically
from recgauntlet.core.spec import WORKPLACES
from recgauntlet.records.best_known import BestKnown, is_best_known, parse_best_known
from recgauntlet.records.digest import COMPRESSED, compress, load_json, parse_json, read_bytes, to_bytes
from recgauntlet.records.explanations import ExplainedDecision, is_explanation, parse_explanation
from recgauntlet.records.manifest import (
    MANIFEST,
    RERUNS,
    Manifest,
    frozen_content,
    is_manifest,
    parse_manifest,
    unlisted_files,
)
from recgauntlet.records.manifest import REMEDY as MANIFEST_REMEDY
from recgauntlet.records.outline import RecordOutline, parse_outline
from recgauntlet.records.schema import REMEDY, RunRecord
from recgauntlet.records.submission.manifest import KIND as SUBMISSION
from recgauntlet.records.submission.reader import merged_records
from recgauntlet.records.validate import parse_record

SKIPPED_DIRECTORIES = frozenset({"checkpoints", WORKPLACES})
Content = TypeVar("Content")


@dataclass(frozen=True)
class Results:
    """What a directory holds; iterates over its records."""

    records: tuple[tuple[Path, RunRecord], ...]
    """The records with the file of each, in order of their paths."""
    broken: tuple[tuple[Path, RecordError], ...]
    """The files that cannot be read, with the reason."""
    best_known: tuple[tuple[Path, BestKnown], ...] = ()
    """The best known attacks, which are no records, with the file of each."""
    explanations: tuple[tuple[Path, ExplainedDecision], ...] = ()
    """The explanations of decisions, which are no records either, with the file of each."""

    def __iter__(self) -> Iterator[RunRecord]:
        return (record for _, record in self.records)

    def __len__(self) -> int:
        return len(self.records)


def write_record(record: RunRecord, path: Path) -> None:
    """Write `record` to `path` atomically, compressed where the name ends in `.xz`.

    Raises OutputError where the directory cannot be written or the disk is full; nothing is left behind.
    """
    content = to_bytes(record.sealed())
    write_atomically(path, compress(content) if path.suffix == COMPRESSED else content)


def read_record(path: Path) -> RunRecord:
    """Read and check a record, `NAME.json` or `NAME.json.xz`.

    Raises RecordError where the file is truncated, has another schema version, unknown or missing fields, was edited,
    or contradicts itself.
    """
    return parse_record(load_json(path, "a record", REMEDY), path)


def read_records(directory: Path) -> Results:
    """Every record, best known attack and explanation below `directory`, in order of path; directories of weights and
    those in which cells work are left out.

    Of a frozen release (a directory with a manifest) exactly the files that its manifest lists are read, after a check
    of their checksums; of a merged submission the records of the submitted plugin. A directory that does not exist
    holds none. A broken file never hides the others: it is returned with its error.

    Raises RecordError where `directory` is a file.
    """
    if directory.is_file():
        raise RecordError(
            "is a file", where=directory, remedy="give the directory that holds the records (results/...)"
        )
    found = sorted(_found(directory, _parse), key=lambda pair: pair[0].relative_to(directory).as_posix())
    records, broken = _of(RunRecord, found), _of(RecordError, found)
    return Results(records, broken, _of(BestKnown, found), _of(ExplainedDecision, found))


def read_outline(path: Path) -> RecordOutline | RunRecord:
    """The outline of a record. That the whole is as it was written is left to `read_record`.

    Raises RecordError as `parse_outline`, or where the file cannot be read.
    """
    return parse_outline(read_bytes(path), path)


def read_outlines(directory: Path) -> Iterator[RecordOutline | RunRecord]:
    """The outlines of the records that `read_records` finds, in no order; broken files are left out."""
    return (one for _, one in _found(directory, parse_outline) if not isinstance(one, BestKnown | RecordError))


def _of(kind: type[Content], found: Sequence[tuple[Path, object]]) -> tuple[tuple[Path, Content], ...]:
    return tuple((path, one) for path, one in found if isinstance(one, kind))


def _found(
    directory: Path, parse: Callable[[bytes, Path], Content]
) -> Iterator[tuple[Path, Content | RunRecord | RecordError]]:
    """Every file that counts with its content as `parse` gives it, or why it is broken."""
    closed: list[Path] = []
    paths = [path for ending in ("*.json", f"*.json{COMPRESSED}") for path in sorted(directory.rglob(ending))]
    paths = [path for path in paths if SKIPPED_DIRECTORIES.isdisjoint(path.relative_to(directory).parts[:-1])]
    paths = [path for path in paths if not path.name.endswith(RERUNS)]
    for path in paths:
        if path.name != MANIFEST:
            continue
        try:
            content = load_json(path, "a manifest", MANIFEST_REMEDY)
            if content.get("kind") == SUBMISSION:
                yield from merged_records(path.parent)
                closed.append(path.parent)
            elif is_manifest(content) and not any(path.is_relative_to(other) for other in closed):
                yield from _frozen(path.parent, parse_manifest(content, path), parse)
                closed.append(path.parent)
        except RecordError as error:
            yield path, error
    for path in paths:
        if path.is_file() and path.name != MANIFEST and not any(path.is_relative_to(other) for other in closed):
            yield path, _parsed(path, None, parse)


def _frozen(
    directory: Path, manifest: Manifest, parse: Callable[[bytes, Path], Content]
) -> Iterator[tuple[Path, Content | RecordError]]:
    """The files of a frozen release, and the files beside them that it does not list, as errors."""
    for file in (file for file in manifest.files if file.kind != "poison-table"):
        path = directory / file.path
        try:
            content = frozen_content(directory, file)
        except RecordError as error:
            yield path, error
        else:
            yield path, _parsed(path, content, parse)
    for path in unlisted_files(directory, manifest):
        remedy = "move it elsewhere, or remove it"
        yield path, RecordError("is no part of the frozen release", where=path, remedy=remedy)


def _parsed(path: Path, content: bytes | None, parse: Callable[[bytes, Path], Content]) -> Content | RecordError:
    """What the file `path` holds, read where its `content` is not given."""
    try:
        return parse(read_bytes(path) if content is None else content, path)
    except RecordError as error:
        return error


def _parse(content: bytes, path: Path) -> RunRecord | BestKnown | ExplainedDecision:
    found = parse_json(content, path, "a record", REMEDY)
    if is_explanation(found):
        return parse_explanation(found, path)
    return parse_best_known(found, path) if is_best_known(found) else parse_record(found, path)
