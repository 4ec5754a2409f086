"""Where a record lies, and how it is read from there: a JSON file, a packed cell, or a cell that a manifest vouches
for."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from recgauntlet.core.errors import RecordError
from recgauntlet.records.best_known import BestKnown, is_best_known, parse_best_known
from recgauntlet.records.columns import Columns
from recgauntlet.records.digest import parse_json, plain_json, read_bytes, to_bytes, written_digest
from recgauntlet.records.frozen_results import strays, vouched_for
from recgauntlet.records.manifest import FrozenFile, Manifest
from recgauntlet.records.packed_cells import CELL, WORDS, cell_of, check_digest, file_of, read_words, words_of
from recgauntlet.records.packing import REMEDY as CELL_REMEDY
from recgauntlet.records.schema import REMEDY, RunRecord, parse_record
from recgauntlet.records.validate import check_record


@dataclass(frozen=True)
class Place:
    """A file that should hold a record or a best known attack. A packed cell has `words`, None where they are missing.
    A file of a frozen release has the release's directory, its `root`, and its line of the manifest, `frozen`."""

    path: Path
    words: bytes | None = None
    root: Path | None = None
    frozen: FrozenFile | None = None

    def content(self) -> bytes:
        """The bytes of the file; RecordError where it cannot be read, or is not what the manifest vouches for."""
        if self.root is not None and self.frozen is not None:
            return vouched_for(self.root, self.frozen)
        return read_bytes(self.path)

    def sum(self, content: bytes) -> str:
        """A SHA-256 over all that a record is read from: the bytes of the file, and the words of a cell."""
        digest = hashlib.sha256(content)
        if self.words is not None:
            digest = hashlib.sha256(digest.digest() + hashlib.sha256(self.words).digest())
        return digest.hexdigest()

    def parsed(self, content: bytes, columns: Columns | None = None) -> RunRecord | BestKnown:
        """What `content`, the bytes of the file, holds. A record is checked (with `columns`, as `check_record` has it)
        unless a manifest vouches for it.

        Raises
        ------
        RecordError
            Naming the file, the field at fault and what to do.
        """
        if self.path.suffix == CELL:
            record = self._cell(content)
            if self.frozen is not None:
                return record
            check_digest(record, self.path)
        elif (written := self._as_written(content)) is not None:
            record = written
        else:
            found = parse_json(content, self.path, "a record", REMEDY)
            if is_best_known(found) or self.frozen is not None:
                return parse_best_known(found, self.path)
            record = parse_record(found, self.path)
        check_record(record, self.path, columns)
        return record

    def read(self) -> RunRecord | BestKnown:
        """What the file holds; RecordError as `content` and `parsed`."""
        return self.parsed(self.content())

    def again(self, known_sum: str) -> RunRecord:
        """The record, which was read before and is not checked again; RecordError where its sum is another now."""
        content = self._content_again(known_sum)
        if self.path.suffix == CELL:
            return self._cell(content)
        try:
            return RunRecord.model_validate_json(plain_json(content, self.path))
        except ValidationError:  # text that only the json module reads, such as UTF-16
            return RunRecord.model_validate(parse_json(content, self.path, "a record", REMEDY))

    def file_again(self, known_sum: str) -> bytes:
        """The file of the record as JSON, as it is written by itself; RecordError as `again`."""
        if self.path.suffix == CELL:
            return file_of(self._words(), self._content_again(known_sum), self.path)
        return to_bytes(self.again(known_sum))

    def _content_again(self, known_sum: str) -> bytes:
        content = self.content()
        if self.sum(content) != known_sum:
            raise RecordError("was changed after it was read", where=self.path, remedy="run the command again")
        return content

    def _as_written(self, content: bytes) -> RunRecord | None:
        """The record in a file that is sealed and laid out as records are written; None in all other cases, which are
        read more slowly."""
        text = plain_json(content, self.path)
        digest = None if self.frozen is not None else written_digest(text)
        if digest is None:
            return None
        with contextlib.suppress(ValidationError):
            record = RunRecord.model_validate_json(text)
            return record if record.digest == digest else None
        return None

    def _cell(self, content: bytes) -> RunRecord:
        return cell_of(self._words(), content, self.path)

    def _words(self) -> bytes:
        if self.words is None:
            raise RecordError(f"has no words in {WORDS} beside it", where=self.path, remedy=CELL_REMEDY)
        return self.words


def loose_places(paths: Sequence[Path]) -> tuple[list[Place], list[tuple[Path, RecordError]]]:
    """The places of files outside of frozen releases; and the cells whose words cannot be read, with the reason."""
    places: list[Place] = []
    broken: list[tuple[Path, RecordError]] = []
    words: dict[Path, dict[str, bytes] | RecordError] = {}
    for path in paths:
        if path.suffix != CELL:
            places.append(Place(path))
            continue
        if path.parent not in words:
            try:
                words[path.parent] = read_words(path.parent)
            except RecordError as error:
                words[path.parent] = error
        known = words[path.parent]
        if isinstance(known, RecordError):
            broken.append((path, known))
        else:
            places.append(Place(path, known.get(path.name)))
    return places, broken


def frozen_places(directory: Path, manifest: Manifest) -> tuple[list[Place], list[tuple[Path, RecordError]]]:
    """The places of a release; and of its other files those that are missing, changed or strays, with the reason.

    Only what the manifest lists is part of the release: what lies below `submissions/` was added later and is left out.
    """
    places: list[Place] = []
    broken: list[tuple[Path, RecordError]] = []
    words: dict[PurePosixPath, dict[str, bytes]] = {}
    for file in sorted(manifest.files, key=lambda file: (file.kind != "words", file.path)):
        path, within = directory / file.path, PurePosixPath(file.path)
        if file.kind == "words":
            try:
                words[within.parent] = words_of(vouched_for(directory, file), path)
            except RecordError as error:
                broken.append((path, error))
        else:
            own = words.get(within.parent, {}).get(within.name) if file.kind == "columns" else None
            places.append(Place(path, own, directory, file))
    broken += [
        (path, RecordError("is no part of the frozen release", where=path, remedy="move it elsewhere, or remove it"))
        for path in strays(directory, manifest)
    ]
    return places, broken
