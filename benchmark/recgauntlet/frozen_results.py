"""Reading a frozen release by the sums of its manifest: what they vouch for was checked when it was frozen.

A file whose SHA-256 is the manifest's is what was frozen, byte for byte. So its columns are not unfolded and compared
again (`check_record`), which would take longer than reading it; `recgauntlet release verify` does that.
"""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from recgauntlet.best_known import REMEDY as BEST_KNOWN_REMEDY
from recgauntlet.best_known import BestKnown, parse_best_known
from recgauntlet.errors import RecordError
from recgauntlet.manifest import MANIFEST, REMEDY, SUBMISSIONS, FrozenFile, Manifest
from recgauntlet.packed_cells import cell_of, words_of
from recgauntlet.record import RunRecord
from recgauntlet.sealed import load_json

Records = list[tuple[Path, RunRecord]]
Broken = list[tuple[Path, RecordError]]
KnownAttacks = list[tuple[Path, BestKnown]]


def read_frozen(directory: Path, manifest: Manifest) -> tuple[Records, Broken, KnownAttacks]:
    """The records of a release, the files that are missing, changed or strays, and its best known attacks.

    Only what the manifest lists is part of the release: what lies below `submissions/` was added later and is left out.
    """
    records: Records = []
    broken: Broken = []
    best_known: KnownAttacks = []
    words: dict[PurePosixPath, dict[str, bytes]] = {}
    with _without_collections():
        for file in sorted(manifest.files, key=lambda file: (file.kind != "words", file.path)):
            path = directory / file.path
            try:
                content = vouched_for(directory, file)
                if file.kind == "words":
                    words[PurePosixPath(file.path).parent] = words_of(content, path)
                elif file.kind == "columns":
                    place = PurePosixPath(file.path)
                    if place.name not in words.get(place.parent, {}):
                        raise RecordError("has no words beside it", where=path, remedy=REMEDY)
                    records.append((path, cell_of(words[place.parent][place.name], content, path)))
                else:
                    best_known.append(
                        (path, parse_best_known(load_json(path, "a best known attack", BEST_KNOWN_REMEDY), path))
                    )
            except RecordError as error:
                broken.append((path, error))
    broken += [
        (path, RecordError("is no part of the frozen release", where=path, remedy="move it elsewhere, or remove it"))
        for path in strays(directory, manifest)
    ]
    return records, broken, best_known


def vouched_for(directory: Path, file: FrozenFile) -> bytes:
    """The bytes of a file of the release.

    Raises
    ------
    RecordError
        Where it is not there, lies outside of the release, or its sum is not the manifest's.
    """
    path = directory / file.path
    place = PurePosixPath(file.path)
    if place.is_absolute() or ".." in place.parts or "\\" in file.path or ":" in file.path:
        raise RecordError(f"names {file.path!r}, no file below it", where=directory / MANIFEST, remedy=REMEDY)
    try:
        if path.exists() and not path.is_file():
            raise RecordError("is no plain file", where=path, remedy=REMEDY)
        if path.stat().st_size != file.bytes:
            raise RecordError(
                f"has {path.stat().st_size:,} bytes, the manifest says {file.bytes:,}",
                where=path,
                field="bytes",
                remedy=REMEDY,
            )
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(
            f"is in the manifest and cannot be read ({error.strerror})", where=path, remedy=REMEDY
        ) from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise RecordError(
            "was changed after it was frozen (its sum is not the manifest's)",
            where=path,
            field="sha256",
            remedy=REMEDY,
        )
    return content


def strays(directory: Path, manifest: Manifest) -> list[Path]:
    """Files in the directory of a release that its manifest does not list, apart from those of submissions."""
    listed = {MANIFEST, *(file.path for file in manifest.files)}
    found = []
    for path in sorted(directory.rglob("*")):
        place = path.relative_to(directory)
        is_file = path.is_symlink() or not path.is_dir()
        if is_file and place.parts[0] != SUBMISSIONS and place.as_posix() not in listed:
            found.append(path)
    return found


@contextmanager
def _without_collections() -> Iterator[None]:
    """Half a million objects are made and none is dropped: looking for garbage among them takes longer than that."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            if not gc.get_freeze_count():
                gc.freeze()
                gc.unfreeze()  # all that was made now counts as old, so that it is not searched at once
            gc.enable()
