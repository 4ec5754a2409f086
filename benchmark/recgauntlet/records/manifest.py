"""The manifest of a frozen release: what it holds, by sums, versions and one line of numbers a row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from recgauntlet.core.card import Track
from recgauntlet.core.errors import OutputError, RecordError
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.records.comparability import Ground
from recgauntlet.records.digest import digest_of, load_json, to_bytes, validated
from recgauntlet.records.schema import PluginKey, SuiteRef

SCHEMA_VERSION: Literal[1] = 1
KIND: Literal["release"] = "release"
MANIFEST = "manifest.json"
SUBMISSIONS = "submissions"
"""The directory of a release in which merged submissions are added, one directory each, after it was frozen."""
REMEDY = "restore the release from where it was published: a frozen file never changes"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")

_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
"""What no file on Windows may be called."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FrozenFile(_Part):
    """A file of the release: its path below the release's directory, with `/`, its SHA-256 and its size in bytes.

    The columns of a cell have two digests more: `record` is that of the record as released, `source` that of the run
    record that was frozen.
    """

    path: str
    kind: Literal["words", "columns", "best-known"]
    sha256: str
    bytes: int = Field(ge=0)
    record: str = ""
    source: str = ""


class FrozenTask(_Part):
    """The one ground (`recgauntlet.records.comparability`) on which the release's records of a task were measured,
    and how many
    there are."""

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

    @property
    def ground(self) -> Ground:
        """What every number of the task was measured on."""
        return Ground(
            self.id,
            self.version,
            self.track,
            self.fingerprint,
            self.data_fingerprint,
            self.simulated,
            self.redistributable,
            self.suite,
            self.examples,
        )


class Interval(_Part):
    """A mean and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, estimate: Estimate) -> Self:
        """The numbers of an estimate."""
        return cls(value=estimate.value, low=estimate.low, high=estimate.high)


class SummaryRow(_Part):
    """A row of the release's tables: clean accuracy, and robust accuracy at the standard tier under `worst`, the ranked
    threat that hurts it most (None, and so `robust`, where there is none). `rank` is None where the row is not ranked:
    `flags` (their titles) say why."""

    task: str
    track: Track
    model: PluginKey
    defense: PluginKey
    rank: int | None
    clean: Interval
    worst: str | None
    robust: Interval | None
    seeds: tuple[int, ...]
    flags: tuple[str, ...]


class Counts(_Part):
    """How many files of each kind, how many of the records are of failed cells, and how many rows there are."""

    records: int = Field(ge=0)
    failed: int = Field(ge=0)
    best_known: int = Field(ge=0)
    rows: int = Field(ge=0)


class Manifest(_Part):
    """A frozen release. `date` is the day of freezing (UTC), `recgauntlet` the version of the package that froze it.

    `supersedes` names the release that this one corrects, for the `reason` given; both are empty where there is none.
    """

    kind: Literal["release"] = KIND
    schema_version: Literal[1] = SCHEMA_VERSION
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
    summary: tuple[SummaryRow, ...]
    digest: str = ""

    def sealed(self) -> Manifest:
        """The same with its digest."""
        return self.model_copy(update={"digest": digest_of(self.model_dump(mode="json"))})

    def to_bytes(self) -> bytes:
        """The file `manifest.json`."""
        return to_bytes(self)


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest.

    Raises
    ------
    RecordError
        Where the file is truncated, edited, of another schema version, or none of a release.
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
