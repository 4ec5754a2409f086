"""Frozen files never change: releases compared with their manifests, and with all that git remembers of them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recgauntlet.core.errors import RecordError
from recgauntlet.records.digest import load_json
from recgauntlet.records.frozen_results import strays, vouched_for
from recgauntlet.records.manifest import MANIFEST, SUBMISSIONS, Manifest, is_manifest, read_manifest

_GIT_SECONDS = 120


@dataclass(frozen=True)
class Finding:
    """Something in a frozen release that is not as it must be: the file, the field ("" for all of it), and what."""

    path: str
    field: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path}: {self.field}: {self.problem}" if self.field else f"{self.path}: {self.problem}"


@dataclass(frozen=True)
class History:
    """What git says: the findings, or (`unknown`) why there is nothing to compare with."""

    findings: tuple[Finding, ...]
    unknown: str = ""


def frozen_releases(root: Path) -> list[Path]:
    """The directories right below `root` that have the manifest of a release, whole or broken."""
    return sorted(path.parent for path in root.glob(f"*/{MANIFEST}") if not path.parent.name.startswith("."))


def changed_files(directory: Path) -> list[Finding]:
    """Everything in which a release differs from its manifest: files missing, changed or not listed, and the same for
    each submission that was added to it."""
    try:
        manifest = read_manifest(directory / MANIFEST)
    except RecordError as error:
        return [Finding(shown(directory / MANIFEST), error.field or "", error.problem)]
    found = []
    if manifest.name != directory.resolve().name:
        problem = f"says {manifest.name!r}, the directory is {directory.resolve().name!r}"
        found.append(Finding(shown(directory / MANIFEST), "name", problem))
    paths = [file.path for file in manifest.files]
    for path in sorted({path for path in paths if paths.count(path) > 1}):
        found.append(Finding(shown(directory / MANIFEST), "files", f"lists {path} more than once"))
    found += _against(directory, manifest)
    found += [
        Finding(shown(path), "", "is not listed in the manifest: a stray") for path in strays(directory, manifest)
    ]
    return found + _submissions(directory / SUBMISSIONS)


def changes_in_history(root: Path, *, only: str = "") -> History:
    """Files of releases below `root` that were changed, deleted or added after the commit that froze the release, in
    any commit on the way to this one or in the working tree (`only`: of one release).

    The way is that of first parents: what a merged branch did inside is seen as the merge that brought it.
    """
    try:
        top = _git(root, "rev-parse", "--show-toplevel").strip()
        if _git(root, "rev-parse", "--is-shallow-repository").strip() == "true":
            return History((), "the clone is shallow: fetch the whole history (git fetch --unshallow)")
        prefix = _git(root, "rev-parse", "--show-prefix").strip()
        log = _git(
            root, "log", "--first-parent", "-m", "--reverse", "--no-relative", "--no-renames", "--name-status", "-z",
            "--format=%x01%H%x02%cs", "HEAD", "--", ".",
        )  # fmt: skip
        tree = _git(root, "diff", "--no-relative", "--no-renames", "--name-status", "-z", "HEAD", "--", ".")
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        return History((), f"there is no git history of {root} ({said.strip().splitlines()[0] if said else 'no git'})")
    releases = _Releases(prefix)
    for commit, changes in _commits(log):
        releases.take(commit, changes)
    releases.take("the working tree", list(_changes(tree.split("\0"))))
    found = [
        Finding(shown(Path(top) / change.path), "", f"was {change.how} after it was frozen, in {change.commit}")
        for change in releases.found
        if not only or change.release == only
    ]
    return History(tuple(found))


@dataclass(frozen=True)
class _Change:
    release: str
    path: str
    how: str
    commit: str


@dataclass
class _Releases:
    """What is frozen so far, while the commits go by from the oldest to the newest."""

    prefix: str
    frozen: set[str] = field(default_factory=set)
    submitted: set[tuple[str, str]] = field(default_factory=set)
    found: list[_Change] = field(default_factory=list)

    def take(self, commit: str, changes: Sequence[tuple[str, str]]) -> None:
        """Judge the changes of a commit by what was frozen before it, then remember what it freezes."""
        froze: set[str] = set()
        submitted: set[tuple[str, str]] = set()
        for status, path in changes:
            place = path.removeprefix(self.prefix).split("/")
            if len(place) < 2:
                continue
            release = place[0]
            if status == "A" and place[1:] == [MANIFEST]:
                froze.add(release)
            if release in self.frozen and not self._is_addition(status, place):
                self.found.append(_Change(release, path, _HOW.get(status, "changed"), commit))
            if status == "A" and len(place) == 4 and place[1] == SUBMISSIONS and place[3] == MANIFEST:
                submitted.add((release, place[2]))
        self.frozen |= froze
        self.submitted |= submitted

    def _is_addition(self, status: str, place: Sequence[str]) -> bool:
        """Whether a change brings a submission that was not there whole before."""
        inside = len(place) > 3 and place[1] == SUBMISSIONS
        return inside and status == "A" and (place[0], place[2]) not in self.submitted


_HOW = {"A": "added", "D": "deleted", "M": "changed", "T": "changed into another kind of file"}


def _commits(log: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    for part in log.split("\x01")[1:]:
        head, _, rest = part.partition("\0")
        number, _, day = head.strip().partition("\x02")
        yield f"commit {number[:12]} of {day.strip()}", list(_changes(rest.split("\0")))


def _changes(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of a status letter and a path."""
    words = [word.lstrip("\n") for word in words if word.strip("\n")]
    yield from zip(words[0::2], words[1::2], strict=True)


def _git(where: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(where), *arguments],
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=True,
        timeout=_GIT_SECONDS,
    ).stdout


def _against(directory: Path, manifest: Manifest) -> list[Finding]:
    found = []
    for file in manifest.files:
        try:
            vouched_for(directory, file)
        except RecordError as error:
            found.append(Finding(shown(directory / file.path), error.field or "", error.problem))
    return found


def _submissions(directory: Path) -> list[Finding]:
    """The findings on the submissions added to a release: each is a directory with a manifest of its own, a JSON object
    whose `files` are objects with `path` and `sha256`."""
    found = []
    for path in sorted(directory.iterdir()) if directory.is_dir() else []:
        if not path.is_dir():
            found.append(Finding(shown(path), "", "is no directory of a submission: a stray"))
        elif not (path / MANIFEST).is_file():
            found.append(Finding(shown(path), "", f"is a submission without its own {MANIFEST}"))
        else:
            found += _submission(path)
    return found


def _submission(directory: Path) -> list[Finding]:
    manifest = directory / MANIFEST
    try:
        content = load_json(manifest, "a manifest", "restore it")
        if is_manifest(content):
            return changed_files(directory)
        sums = {str(file["path"]): str(file["sha256"]) for file in content["files"]}
    except RecordError as error:
        return [Finding(shown(manifest), error.field or "", error.problem)]
    except (KeyError, TypeError, json.JSONDecodeError):
        return [Finding(shown(manifest), "files", "is no list of objects with path and sha256")]
    found = []
    there = {
        path.relative_to(directory).as_posix(): path
        for path in directory.rglob("*")
        if not path.is_dir() and path != manifest
    }
    for name, wanted in sorted(sums.items()):
        path = there.pop(name, None)
        if path is None:
            found.append(Finding(shown(directory / name), "", "is in the submission's manifest and missing"))
        elif hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            found.append(Finding(shown(path), "sha256", "was changed after it was submitted"))
    return found + [
        Finding(shown(path), "", "is not listed in the submission's manifest: a stray")
        for _, path in sorted(there.items())
    ]


def shown(path: Path) -> str:
    """The path as a reader sees it: from where they stand, if it lies below. Links are not followed."""
    whole = Path(os.path.abspath(path))  # noqa: PTH100  resolve() would name what a link points to
    return whole.relative_to(Path.cwd()).as_posix() if whole.is_relative_to(Path.cwd()) else str(whole)
