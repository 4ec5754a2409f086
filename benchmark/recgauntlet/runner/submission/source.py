"""The source of a plugin: its files, read and hashed, never run."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from recgauntlet.core.errors import PluginError
from recgauntlet.core.plugins import Kind, place_of

LARGEST = 1_000_000
"""Bytes of one file."""
MOST = 200
_SKIPPED = {"__pycache__", ".git"}
_SUFFIXES = {".py", ".toml", ".json", ".md", ".txt", ".cfg"}


def source_files(kind: Kind, name: str) -> dict[str, bytes]:
    """The files of the module or package that registers the plugin: path with `/` and content, sorted.

    Found without importing the module itself. Data files of other kinds than text are left out.

    Raises
    ------
    PluginError
        Where they cannot be found, are too many or too large.
    """
    top = place_of(kind, name)[0].partition(".")[0]
    found = importlib.util.find_spec(top)
    if found is None or found.origin is None:
        raise PluginError(
            f"the source of {name!r} is not there",
            where=top,
            remedy="install it from its directory or a wheel, so that its modules are files",
        )
    origin = Path(found.origin)
    root = origin.parent if origin.name == "__init__.py" else None
    paths = [origin] if root is None else sorted(path for path in root.rglob("*") if _counts(path, root))
    base = origin.parent if root is None else root.parent
    if len(paths) > MOST or any(path.stat().st_size > LARGEST for path in paths):
        raise PluginError(
            f"has more than {MOST} files, or one of more than {LARGEST:,} bytes",
            where=top,
            remedy="keep the plugin in a package of its own, and its data out of it",
        )
    return {path.relative_to(base).as_posix(): path.read_bytes() for path in paths}


def _counts(path: Path, root: Path) -> bool:
    inside = path.relative_to(root)
    return path.is_file() and path.suffix in _SUFFIXES and _SKIPPED.isdisjoint(inside.parts)


def source_hash(files: dict[str, bytes]) -> str:
    """SHA-256 over the paths and contents."""
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
