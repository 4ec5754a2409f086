"""The cache directory, the newest release, and atomic writing of files."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from recgauntlet.core.errors import OutputError

CURRENT = "2026.5"
"""The release that commands mean where none is named."""
CACHE_VARIABLE = "RECGAUNTLET_CACHE"


def cache_root() -> Path:
    """The root of the cache: `$RECGAUNTLET_CACHE`, else the platform's own place for caches."""
    named = os.environ.get(CACHE_VARIABLE, "").strip()
    if named:
        return Path(named).expanduser().absolute()
    import pooch

    return Path(pooch.os_cache("recgauntlet"))


def downloads(cache: Path) -> Path:
    """Where archives and wheels lie under `cache`, as they were downloaded."""
    return cache / "downloads"


def prepared(cache: Path) -> Path:
    """Where prepared tracks lie under `cache`, one file each."""
    return cache / "prepared"


def vectors(cache: Path) -> Path:
    """Where the frozen encoder's vectors of catalogs lie under `cache`."""
    return cache / "vectors"


def language_models(cache: Path) -> Path:
    """Where converted language models lie under `cache`, a directory each."""
    return cache / "language-models"


def word_nets(cache: Path) -> Path:
    """Where tables of synonyms lie under `cache`, as they were read from their sources."""
    return cache / "word-nets"


def weights(cache: Path) -> Path:
    """Where downloaded weights of published cells lie under `cache`, in the layout of huggingface_hub."""
    return cache / "weights"


def twins(cache: Path) -> Path:
    """Where inputs that fool the undefended twins lie under `cache`: beside the data, since they may hold texts of
    it."""
    return cache / "twins"


def poison(cache: Path) -> Path:
    """Where poison tables lie under `cache`, one file an attack and tier."""
    return cache / "poison"


def write_atomically(path: Path, content: bytes, *, lasting: bool = True) -> None:
    """Write a file so that a reader sees the old content or the new, never a part. One that is not `lasting`, because
    it can be made again, may be lost or cut if the machine stops: to wait for the disk takes longer than to write."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with part.open("xb") as file:  # not mkstemp, whose files are private: a cell may not change their mode
                file.write(content)
                if lasting:
                    file.flush()
                    os.fsync(file.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror})",
            where=path,
            remedy="free some disk space or choose another output directory (--out)",
        ) from error


def check_writable(directory: Path, remedy: str) -> None:
    """OutputError with `remedy` where nothing can be written to `directory`, which is made where it is not there."""
    probe = directory / ".writable"
    try:
        write_atomically(probe, b"")
        probe.unlink()
    except OutputError as error:
        raise OutputError(error.problem, where=directory, remedy=remedy) from error


def check_cache(cache: Path) -> None:
    """OutputError where nothing can be written to one of the directories of the cache."""
    places = (downloads, prepared, vectors, twins, language_models, word_nets)
    for directory in (place(cache) for place in places):
        check_writable(directory, f"set {CACHE_VARIABLE} to a directory that you may write to, or free some disk space")


def write_directory(target: Path, files: Mapping[str, bytes]) -> None:
    """Write a new directory, whose `files` are named by their paths in it, in one step.

    Raises
    ------
    OutputError
        Where it exists or cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
        try:
            for name, content in files.items():
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_bytes(content)
            part.chmod(0o755)  # mkdtemp's are private
            part.rename(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror})",
            where=target,
            remedy="name a place that you may write to, or free some disk space",
        ) from error
