"""The manifest of a frozen release: the checksums of its files, versions and a summary of each row."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import Field

from recgauntlet.core.card import Track
from recgauntlet.core.errors import OutputError, RecordError
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.records.comparability import EvaluationSetting
from recgauntlet.records.digest import digest_of, load_json, to_bytes, validated
from recgauntlet.records.references import Part, PluginKey, SuiteRef

SCHEMA_VERSION: Literal[2] = 2
KIND: Literal["release"] = "release"
MANIFEST = "manifest.json"
RANKS: Literal["paired"] = "paired"
"""The rule of ranks: by the joint paired bootstrap (`recgauntlet.leaderboard.paired`)."""
SUBMISSIONS = "submissions"
"""The directory of a release in which merged submissions are added, one directory each, after it was frozen."""
RERUNS = ".reruns.json"
"""The end of the file beside a release that names cells which were run again (`recgauntlet.records.reruns`)."""
REMEDY = "restore the release from where it was published: a frozen file never changes"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")

_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""What no file on Windows may be called."""


@dataclass(frozen=True)
class Finding:
    """A problem of a release or a submission: the file ("" for the whole), the field ("" for the whole file), and what
    is wrong."""

    path: str
    field: str
    problem: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.path, self.field, self.problem) if part)


FileKind = Literal["record", "best-known", "explanation", "poison-table"]


class FrozenFile(Part):
    """A file of the release."""

    path: str
    """Below the release's directory, with `/`."""
    kind: FileKind
    sha256: str
    bytes: int = Field(ge=0)
    record: str = ""
    """The digest of the record in the file; empty for other kinds."""
    source: str = ""
    """The digest of the run record that was frozen: another than `record` where its attack scores were left out."""


class FrozenTask(Part):
    """The evaluation setting (`recgauntlet.records.comparability`) in which all of the release's records of a task were
    measured, and how many records there are."""

    id: str
    version: int
    track: Track
    fingerprint: str
    data_fingerprint: str
    simulated: bool
    redistributable: bool
    suite: SuiteRef
    examples: str
    records: int = Field(ge=0)

    @classmethod
    def of(cls, setting: EvaluationSetting, records: int) -> Self:
        """`records` records that were measured in one setting."""
        known = dict(vars(setting))
        return cls(id=known.pop("task"), examples=known.pop("examples_fingerprint"), records=records, **known)

    @property
    def setting(self) -> EvaluationSetting:
        """What every number of the task was measured on."""
        known = {name: value for name, value in self if name not in ("id", "examples", "records")}
        return EvaluationSetting(task=self.id, examples_fingerprint=self.examples, **known)


class WeightsFile(Part):
    """The trained weights of a cell, a file of the repository. `record` is the digest of the run record that was frozen
    (`FrozenFile.source`)."""

    path: str = Field(pattern=r"^[^/\\.][^\\]*\.safetensors$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    record: str


class Weights(Part):
    """Where the trained weights of a release's cells are published: a repository on a Hugging Face hub, and the commit
    by its full hash, which nobody can change afterwards."""

    repository: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    files: tuple[WeightsFile, ...]


class SummaryRow(Part):
    """A row of the release's tables: clean accuracy, and robust accuracy at the medium tier under `worst`, the ranked
    threat that hurts it most (None, and so `robust`, where there is none). `rank` is None where the row is not ranked:
    `flags` (their titles) say why."""

    task: str
    track: Track
    model: PluginKey
    defense: PluginKey
    rank: int | None
    clean: Estimate
    worst: str | None
    robust: Estimate | None
    seeds: tuple[int, ...]
    flags: tuple[str, ...]
    pairs: int | None = Field(default=None, exclude_if=lambda found: found is None)
    """How many of the first test pairs the row has; None for all."""


class Counts(Part):
    """How many files of each kind, how many of the records are of failed cells, and how many rows there are."""

    records: int = Field(ge=0)
    failed: int = Field(ge=0)
    best_known: int = Field(ge=0)
    explanations: int = Field(default=0, ge=0, exclude_if=lambda found: not found)
    """Not written where there are none, nor in releases from before they were there."""
    rows: int = Field(ge=0)


class Manifest(Part):
    """A frozen release. `date` is the day of freezing (UTC), `recgauntlet` the version of the package that froze it.

    `supersedes` names the release that this one corrects, for the `reason` given; both are empty where there is none.
    """

    kind: Literal["release"] = KIND
    schema_version: Literal[2] = SCHEMA_VERSION
    name: str
    date: str
    recgauntlet: str
    supersedes: str = ""
    reason: str = ""
    attack_scores: bool
    """Whether the records hold the scores of every perturbed input; where not, the columns `scores` of attacks are
    empty."""
    tasks: tuple[FrozenTask, ...]
    counts: Counts
    files: tuple[FrozenFile, ...]
    ranks: Annotated[Literal["intervals", "paired"], Field(exclude_if=lambda rule: rule == "intervals")] = "intervals"
    """The rule of the ranks in the summary: RANKS, or by overlapping intervals, as before there was this field."""
    summary: tuple[SummaryRow, ...]
    weights: Weights | None = Field(default=None, exclude_if=lambda found: found is None)
    """Of the cells whose trained weights are published; not written where none are."""
    digest: str = ""

    def sealed(self) -> Manifest:
        """The same with its digest."""
        return self.model_copy(update={"digest": digest_of(self.model_dump(mode="json"))})

    def to_bytes(self) -> bytes:
        """The file `manifest.json`."""
        return to_bytes(self)


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises RecordError where the file is truncated, edited, of another schema version, or none of a release.
    """
    return parse_manifest(load_json(path, "the manifest of a release", REMEDY), path)


def parse_manifest(content: dict[str, Any], path: Path) -> Manifest:
    """The content of the file `path`, checked; RecordError as `read_manifest`."""
    if not is_manifest(content):
        raise RecordError("is no manifest of a release", where=path, field="kind", remedy=REMEDY)
    return validated(content, Manifest, (SCHEMA_VERSION,), path, "freeze the records again under a new name", REMEDY)


def is_manifest(content: dict[str, Any]) -> bool:
    """Whether a JSON object says that it is the manifest of a release."""
    return content.get("kind") == KIND


def check_not_frozen(path: Path, option: str) -> None:
    """OutputError where `path` lies in a frozen release, in which nothing is written any more."""
    for place in (path.absolute(), *path.absolute().parents):
        if _has_manifest(place):
            raise OutputError(
                f"lies in the frozen release {place.name}, whose files never change",
                where=path,
                field=option,
                remedy="choose a directory elsewhere",
            )


def _has_manifest(directory: Path) -> bool:
    try:
        return is_manifest(load_json(directory / MANIFEST, "a manifest", REMEDY))
    except RecordError:
        return False  # none, or another program's


def is_file_safe(name: str) -> bool:
    """Whether a release may have this name: letters, digits, dots, hyphens and underscores, 64 at most, the first and
    the last a letter or a digit. It is a directory on every system, and no path."""
    return _NAME.fullmatch(name) is not None and ".." not in name and not _DEVICE.fullmatch(name)


def frozen_content(directory: Path, file: FrozenFile) -> bytes:
    """The bytes of a file of the release in `directory`, which have the checksum of the manifest.

    Raises RecordError where it is missing, lies outside of the release, or has another checksum than the manifest says.
    """
    path, place = directory / file.path, PurePosixPath(file.path)

    def fault(problem: str, field: str | None = None) -> RecordError:
        return RecordError(problem, where=path, field=field, remedy=REMEDY)

    if place.is_absolute() or ".." in place.parts or "\\" in file.path or ":" in file.path:
        raise RecordError(f"names {file.path!r}, no file below it", where=directory / MANIFEST, remedy=REMEDY)
    try:
        if path.exists() and not path.is_file():
            raise fault("is no plain file")
        if path.stat().st_size != file.bytes:
            raise fault(f"has {path.stat().st_size:,} bytes, the manifest says {file.bytes:,}", "bytes")
        content = path.read_bytes()
    except OSError as error:
        raise fault(f"is in the manifest and cannot be read ({error.strerror})") from error
    if hashlib.sha256(content).hexdigest() != file.sha256:
        raise fault("was changed after it was frozen (its checksum is not the manifest's)", "sha256")
    return content


def unlisted_files(directory: Path, manifest: Manifest) -> list[Path]:
    """Files in the directory of a release that its manifest does not list, apart from those of submissions."""
    listed = {MANIFEST, *(file.path for file in manifest.files)}
    found = []
    for path in sorted(directory.rglob("*")):
        place = path.relative_to(directory)
        is_file = path.is_symlink() or not path.is_dir()
        if is_file and place.parts[0] != SUBMISSIONS and place.as_posix() not in listed:
            found.append(path)
    return found
