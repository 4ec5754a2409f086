"""The source of a plugin: its files, read and hashed, never run."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from recgauntlet.core.errors import PluginError
from recgauntlet.core.plugins import BUILT_IN, Kind, place_of, whose

LARGEST = 1_000_000
"""Bytes of one file of a submission."""
MOST = 200
_SKIPPED = {"__pycache__", ".git"}
_SUFFIXES = {".py", ".toml", ".json", ".md", ".txt", ".cfg"}


def source_of(kind: Kind, name: str) -> str:
    """The hash of the plugin's source as it is on disk now: what a record keeps of it.

    Of a built-in plugin the modules that its own imports from its package, and these in turn; so a new defense leaves
    the sources of all others as they were. Of any other plugin all files, as a submission has them: nobody has read
    what else they may load.

    Raises
    ------
    PluginError
        Where its files cannot be found.
    """
    files = {path: file.read_bytes() for path, file in _files(kind, name).items()}
    if whose(kind, name)[0] == BUILT_IN:
        files = imported(files, place_of(kind, name)[0])
    return source_hash(files)


def imported(files: dict[str, bytes], module: str) -> dict[str, bytes]:
    """Those of a package's `files`, by paths with `/`, that its `module` ("package.module") reads by `import` anywhere
    in the file, directly or through others, with itself and the packages that they stand in."""
    found: dict[str, bytes] = {}
    waiting = list(_paths(module.split(".")))
    while waiting:
        path = waiting.pop()
        if path in found or path not in files:
            continue
        found[path] = files[path]
        waiting += _named(ast.parse(files[path]), path)
    return dict(sorted(found.items()))


def _named(tree: ast.AST, path: str) -> Iterator[str]:
    """The paths that what a module imports may have, and those of its own packages."""
    parents = path.split("/")[:-1]
    names = [parents[: depth + 1] for depth in range(len(parents))]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [one.name.split(".") for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = parents[: len(parents) - node.level + 1] if node.level else []
            base = [*start, *(node.module or "").split(".")] if node.module else start
            names += [base, *([*base, one.name] for one in node.names)]
    for name in names:
        yield from _paths(name)


def _paths(module: list[str]) -> tuple[str, str]:
    """The two files that a module may be."""
    return "/".join(module) + ".py", "/".join([*module, "__init__.py"])


def source_files(kind: Kind, name: str) -> dict[str, bytes]:
    """The files of the module or package that registers the plugin: path with `/` and content, sorted.

    Found without importing the module itself. Data files of other kinds than text are left out.

    Raises
    ------
    PluginError
        Where they cannot be found, are too many or too large for a submission.
    """
    files = _files(kind, name)
    if len(files) > MOST or any(file.stat().st_size > LARGEST for file in files.values()):
        raise PluginError(
            f"has more than {MOST} files, or one of more than {LARGEST:,} bytes",
            where=place_of(kind, name)[0],
            remedy="keep the plugin in a package of its own, and its data out of it",
        )
    return {path: file.read_bytes() for path, file in files.items()}


def source_hash(files: dict[str, bytes]) -> str:
    """SHA-256 over the paths and contents."""
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def _files(kind: Kind, name: str) -> dict[str, Path]:
    """The files by their paths with `/` from the directory that holds the module or package."""
    module, found = place_of(kind, name)[0], None
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):  # a namespace package has no file: the package below it counts
        found = importlib.util.find_spec(".".join(parts[:depth]))
        if found is None or found.origin is not None:
            break
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise PluginError(
            f"the source of {name!r} is not there",
            where=module,
            remedy="install it from its directory or a wheel, so that its modules are files",
        )
    origin = Path(found.origin)
    root = origin.parent
    if origin.name != "__init__.py":
        return {origin.name: origin}
    files = (path for path in sorted(root.rglob("*")) if _counts(path, root))
    return {path.relative_to(root.parent).as_posix(): path for path in files}


def _counts(path: Path, root: Path) -> bool:
    inside = path.relative_to(root)
    return path.is_file() and path.suffix in _SUFFIXES and _SKIPPED.isdisjoint(inside.parts)
