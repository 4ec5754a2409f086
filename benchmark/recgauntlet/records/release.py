"""Opening a release: a frozen one by its manifest, or a plain directory of records."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from recgauntlet.core.errors import RecordError
from recgauntlet.records.io import Results, read_records
from recgauntlet.records.manifest import MANIFEST, Manifest, read_manifest

ROOT = Path("results")
"""Where releases lie, seen from the repository's root."""


@dataclass(frozen=True)
class Release:
    """Results that can be named: `name` is the manifest's, or the directory's if it is not frozen (`manifest` is
    None)."""

    name: str
    directory: Path
    manifest: Manifest | None
    results: Results

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest's file, which holds the sums of all others; "" where nothing is frozen."""
        if self.manifest is None:
            return ""
        return hashlib.sha256((self.directory / MANIFEST).read_bytes()).hexdigest()


def open_release(where: str | Path, root: Path = ROOT) -> Release:
    """The release `where`: the path of a directory, or a name below `root`.

    Raises RecordError where there is no such directory (names that are close are suggested), or its manifest is broken.
    """
    directory = find_release(where, root)
    manifest = open_manifest(directory)
    name = directory.resolve().name if manifest is None else manifest.name
    return Release(name, directory, manifest, read_records(directory))


def find_release(where: str | Path, root: Path = ROOT) -> Path:
    """The directory of the release `where`; RecordError as `open_release`."""
    text = str(where)
    places = [Path(where)] if isinstance(where, Path) or text in {"", ".", ".."} else [root / text, Path(text)]
    found = [place for place in places if place.is_dir()]
    if found:
        return found[0]
    if any(place.is_file() for place in places):
        raise RecordError("is a file", where=text, remedy="give the directory of a release (results/...), or its name")
    names = release_names(root)
    close = get_close_matches(Path(text).name, names, n=3, cutoff=0.5)
    if close:
        remedy = f"did you mean {' or '.join(close)}?"
    elif names:
        remedy = f"give the path of a directory, or one of: {', '.join(names)}"
    else:
        remedy = f"give the path of a directory: there are no releases below {root}"
    raise RecordError("is no release and no directory", where=text, remedy=remedy)


def open_manifest(directory: Path) -> Manifest | None:
    """The manifest of the release in `directory`, None if it is not frozen; RecordError where it is broken."""
    path = directory / MANIFEST
    return read_manifest(path) if path.is_file() else None


def superseded_by(name: str, root: Path = ROOT) -> list[str]:
    """The names of the releases below `root` that correct the release `name`, in order; manifests that are broken say
    nothing."""
    found = []
    for other in release_names(root):
        try:
            manifest = open_manifest(root / other)
        except RecordError:
            continue
        if manifest is not None and manifest.supersedes == name:
            found.append(manifest.name)
    return found


def release_names(root: Path = ROOT) -> list[str]:
    """The names of all directories below `root`, frozen or not."""
    if not root.is_dir():
        return []
    return sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
