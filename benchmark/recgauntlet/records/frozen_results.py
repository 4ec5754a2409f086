"""The files of a frozen release by the sums of its manifest: what they vouch for was checked when it was frozen.

A file whose SHA-256 is the manifest's is what was frozen, byte for byte. So its columns are not unfolded and compared
again (`check_record`), which would take longer than reading it; `recgauntlet release verify` does that.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from recgauntlet.core.errors import RecordError
from recgauntlet.records.manifest import MANIFEST, REMEDY, SUBMISSIONS, FrozenFile, Manifest


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
