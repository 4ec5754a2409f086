"""The file of cells that were drawn by lot and run again, `NAME.reruns.json` beside the directory NAME of a release.

It stands beside the release, whose files never change. An entry names the record, the lot and a hash of the numbers
that came out. A reader checks that the lot falls on this record, and that the record has the same numbers. Who wrote
the file is not proved: like a record, it is a statement that anyone can check by running the cell.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from recgauntlet.core.card import TIERS
from recgauntlet.core.errors import RecordError
from recgauntlet.core.files import write_atomically
from recgauntlet.records.digest import digest_of, load_json, to_bytes, validated
from recgauntlet.records.io import Results
from recgauntlet.records.manifest import RERUNS, SUBMISSIONS
from recgauntlet.records.references import Part
from recgauntlet.records.schema import RunRecord

SCHEMA_VERSION: Literal[1] = 1
KIND: Literal["reruns"] = "reruns"
REMEDY = "restore it, or remove it and run recgauntlet release verify NAME --rerun"
_HASH = r"^[0-9a-f]{64}$"


class Rerun(Part):
    """A cell that was run again. `within` is the submission among whose records the lot was drawn (its directory below
    the release), "" for the release's own records. `numbers` is `numbers_of` the record that came out."""

    record: str = Field(pattern=_HASH)
    within: str = ""
    lot: int = Field(ge=0)
    numbers: str = Field(pattern=_HASH)
    findings: tuple[str, ...] = ()
    finished: str
    recgauntlet: str
    commit: str
    device: str


class Reruns(Part):
    """The file: entries in the order in which cells were run again."""

    kind: Literal["reruns"] = KIND
    schema_version: Literal[1] = SCHEMA_VERSION
    reruns: tuple[Rerun, ...]
    digest: str = ""


def reruns_path(directory: Path) -> Path:
    """The file of the release in `directory`."""
    whole = directory.resolve()
    return whole.with_name(f"{whole.name}{RERUNS}")


def numbers_of(record: RunRecord) -> str:
    """SHA-256 of what a cell measured, the same whenever and how fast it ran: clean scores, outcomes of all threats and
    tiers, rankings under attack, certified examples, robust accuracy under attacks on training data, and weights."""
    sha = hashlib.sha256()
    for name, values in _measured(record):
        # values, not the columns' compressed text, which may differ between versions of zlib
        sha.update(f"{name} {len(values)} ".encode() + values)
    return sha.hexdigest()


def _measured(record: RunRecord) -> Iterator[tuple[str, bytes]]:
    yield "weights", record.weights_sha256.encode()
    if (clean := record.clean) is not None:
        yield "labels", clean.labels.to_bool().tobytes()
        yield "scores", clean.scores.to_float().tobytes()
        yield "list labels", clean.impression_labels.to_bool().tobytes()
        yield "list scores", clean.impression_scores.to_float().tobytes()
        if clean.popular is not None:
            yield "popular labels", clean.popular.labels.to_bool().tobytes()
            yield "popular scores", clean.popular.scores.to_float().tobytes()
        if clean.catalog is not None:
            yield "places in the catalog", clean.catalog.model_dump_json().encode()
    for threat in record.threats:
        yield f"threat {threat.id} {threat.applicable}", b""
        for tier in threat.tiers:
            yield f"{threat.id} {tier.tier}", tier.robust.to_bool().tobytes()
    for ranking in record.ranking:
        yield f"ranking {ranking.threat}", ranking.scores.to_float().tobytes()
    for proved in record.certified:
        yield f"certified {proved.threat} {proved.tier}", proved.certified.to_bool().tobytes()
    for poisoned in record.poisoning:
        for name in TIERS:
            robust = poisoned.robust_pairs(name)
            yield f"poisoning {poisoned.threat} {name}", b"" if robust is None else repr(robust.accuracy()).encode()


def drawn(records: Mapping[str, RunRecord], lot: int) -> str:
    """The path on which `lot` falls, among the finished `records` by path.

    Raises RecordError where none has finished.
    """
    paths = sorted(path for path, record in records.items() if record.status == "ok")
    if not paths:
        raise RecordError("holds no finished record, so none can be drawn", remedy="name a release with records")
    return random.Random(lot).choice(paths)


def records_within(directory: Path, results: Results, within: str = "") -> dict[str, RunRecord]:
    """By path below `directory`: the records of the submission `within`, or those that are of no submission."""
    inside = {path.relative_to(directory).as_posix(): record for path, record in results.records}
    if within:
        return {path: record for path, record in inside.items() if path.startswith(f"{within}/")}
    return {path: record for path, record in inside.items() if not path.startswith(f"{SUBMISSIONS}/")}


def read_reruns(directory: Path) -> tuple[Rerun, ...]:
    """The entries of the file beside `directory`; none where there is no file.

    Raises RecordError where it is truncated, edited or of another schema version.
    """
    path = reruns_path(directory)
    if not path.is_file():
        return ()
    content = load_json(path, "a file of cells that were run again", REMEDY)
    return validated(content, Reruns, (SCHEMA_VERSION,), path, REMEDY, REMEDY).reruns


def add_rerun(directory: Path, entry: Rerun) -> Path:
    """Put `entry` behind those of the file beside `directory`; the file's path. RecordError as `read_reruns`,
    OutputError where it cannot be written."""
    path = reruns_path(directory)
    found = Reruns(reruns=(*read_reruns(directory), entry))
    sealed = found.model_copy(update={"digest": digest_of(found.model_dump(mode="json"))})
    write_atomically(path, to_bytes(sealed))
    return path


def confirmed(directory: Path, results: Results) -> dict[str, Rerun]:
    """By its digest, each record that was drawn by lot and had the same numbers when it was run again.

    Raises
    ------
    RecordError
        As `read_reruns`; and where an entry names no record of the directory, or one on which its lot does not fall.
    """
    found: dict[str, Rerun] = {}
    for number, entry in enumerate(read_reruns(directory)):
        field = f"reruns.{number}"
        records = records_within(directory, results, entry.within)
        known = {record.digest: path for path, record in records.items()}
        if entry.record not in known:
            problem = f"names the record {entry.record[:12]}, which is not there"
            raise RecordError(problem, where=reruns_path(directory), field=f"{field}.record", remedy=REMEDY)
        if drawn(records, entry.lot) != known[entry.record]:
            problem = f"lot {entry.lot} falls on another record than {known[entry.record]}"
            raise RecordError(problem, where=reruns_path(directory), field=f"{field}.lot", remedy=REMEDY)
        if not entry.findings and entry.numbers == numbers_of(records[known[entry.record]]):
            found[entry.record] = entry
    return found
