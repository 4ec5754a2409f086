"""The archive of a submission: a zip file, written the same every time, and read as if its sender were hostile.

Nothing is ever unpacked by name. Members are read into memory within limits, and only under names that a submission
may have.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from recgauntlet.core.errors import RecordError
from recgauntlet.records.manifest import MANIFEST, Finding

MOST_FILES = 2000
LARGEST_FILE = 32_000_000
LARGEST_WHOLE = 256_000_000
"""Bytes that an archive may unfold to."""
LARGEST_ARCHIVE = 128_000_000
STEEPEST = 200
"""How many bytes one byte of the archive may unfold to: text shrinks to a tenth, a bomb to a thousandth."""
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,150}"
_NAMES = re.compile(rf"manifest\.json|records(?:/{_PART}){{2}}/{_PART}\.json\.xz|source(?:/{_PART}){{1,6}}")
_DATE = (1980, 1, 1, 0, 0, 0)
_REMEDY = "pack it again with recgauntlet submit"


def allowed_name(name: str) -> bool:
    """Whether a file of a submission may have this path: no way out of its directory, no odd character, no device."""
    return _NAMES.fullmatch(name) is not None and ".." not in name


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """The zip file of `files`: the same files give the same bytes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type = zipfile.ZIP_STORED if name.endswith(".xz") else zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o100644 << 16
            archive.writestr(info, files[name])
    return target.getvalue()


def read_archive(path: Path) -> tuple[dict[str, bytes], tuple[Finding, ...]]:
    """The files of an archive that may be read, and everything that is wrong with the others.

    Raises RecordError where there is no archive at all, or one that is too large to look at.
    """
    try:
        if path.stat().st_size > LARGEST_ARCHIVE:
            raise RecordError(f"is larger than {LARGEST_ARCHIVE:,} bytes", where=path, remedy=_REMEDY)
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except OSError as error:
        raise RecordError(f"cannot be read ({error.strerror})", where=path, remedy="check the path") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise RecordError(f"is no zip archive ({error})", where=path, remedy=_REMEDY) from error


def _read(archive: zipfile.ZipFile) -> tuple[dict[str, bytes], tuple[Finding, ...]]:
    members = archive.infolist()
    faults: list[Finding] = []
    if len(members) > MOST_FILES:
        return {}, (Finding("", "", f"has {len(members)} members, more than {MOST_FILES}"),)
    files: dict[str, bytes] = {}
    whole = 0
    for info in members:
        problem = _refused(info, files)
        if problem:
            faults.append(Finding(info.filename, "", problem))
            continue
        try:
            with archive.open(info) as member:
                content = member.read(LARGEST_FILE + 1)
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, OSError, ValueError) as error:
            faults.append(Finding(info.filename, "", f"cannot be read ({type(error).__name__})"))
            continue
        whole += len(content)
        if len(content) > LARGEST_FILE:
            faults.append(Finding(info.filename, "", f"unfolds to more than {LARGEST_FILE:,} bytes"))
        elif whole > LARGEST_WHOLE:
            return files, (*faults, Finding("", "", f"unfolds to more than {LARGEST_WHOLE:,} bytes"))
        else:
            files[info.filename] = content
    return files, tuple(faults)


def _refused(info: zipfile.ZipInfo, files: Mapping[str, bytes]) -> str:
    """Why a member is not even opened; "" where it may be."""
    kind = info.external_attr >> 28
    if not allowed_name(info.filename):
        return f"has a name that no file of a submission has (allowed: {MANIFEST}, records/..., source/...)"
    if kind not in (0, 8):
        return "is no regular file"
    if info.flag_bits & 1:
        return "is encrypted"
    if info.filename in files:
        return "is there twice"
    if any(name.lower() == info.filename.lower() for name in files):
        return "differs from another file in case alone"
    if info.file_size > LARGEST_FILE:
        return f"says that it unfolds to {info.file_size:,} bytes, more than {LARGEST_FILE:,}"
    if info.file_size > STEEPEST * max(1024, info.compress_size):
        return f"unfolds to more than {STEEPEST} times its size"
    return ""


def sum_of(content: bytes) -> str:
    """SHA-256."""
    return hashlib.sha256(content).hexdigest()
