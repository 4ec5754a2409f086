"""Reading a directory of records and best known attacks, good and broken; no record may contradict itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from recgauntlet.best_known import BestKnown, is_best_known, parse_best_known
from recgauntlet.data.tables import BoolArray
from recgauntlet.errors import RecordError
from recgauntlet.metrics import correct
from recgauntlet.record import REMEDY, Clean, Packed, RunRecord, ThreatOutcome, parse_record
from recgauntlet.sealed import load_json

SKIPPED_DIRECTORY = "checkpoints"


@dataclass(frozen=True)
class Results:
    """What a directory holds: `records` with the file of each, the files that are `broken` with the reason, and the
    best known attacks, which are no records."""

    records: tuple[tuple[Path, RunRecord], ...]
    broken: tuple[tuple[Path, RecordError], ...]
    best_known: tuple[tuple[Path, BestKnown], ...] = ()


def read_results(directory: Path) -> Results:
    """Every record and every best known attack (`*.json`) below `directory`, in order of path; directories named
    "checkpoints" are left out.

    A directory that does not exist holds none. A broken file never hides the others: it is returned with its
    error.

    Raises
    ------
    RecordError
        Where `directory` is a file.
    """
    if directory.is_file():
        raise RecordError(
            "is a file", where=directory, remedy="give the directory that holds the records (results/...)"
        )
    records: list[tuple[Path, RunRecord]] = []
    broken: list[tuple[Path, RecordError]] = []
    best_known: list[tuple[Path, BestKnown]] = []
    for path in record_paths(directory):
        try:
            content = load_json(path, "a record", REMEDY)
            if is_best_known(content):
                best_known.append((path, parse_best_known(content, path)))
            else:
                record = parse_record(content, path)
                check_record(record, path)
                records.append((path, record))
        except RecordError as error:
            broken.append((path, error))
    return Results(tuple(records), tuple(broken), tuple(best_known))


def record_paths(directory: Path) -> list[Path]:
    """The files that `read_results` reads, sorted by their path below `directory`."""
    paths = [
        path
        for path in directory.rglob("*.json")
        if path.is_file() and SKIPPED_DIRECTORY not in path.relative_to(directory).parts[:-1]
    ]
    return sorted(paths, key=lambda path: path.relative_to(directory).as_posix())


def check_record(record: RunRecord, where: Path | None = None) -> None:
    """Check what the schema cannot: that every packed column unfolds and that no column contradicts another.

    Raises
    ------
    RecordError
        Naming `where`, the first column at fault and what is wrong with it.
    """
    if record.status == "failed":
        if record.failure is None:
            raise _fault(where, "failure", "is missing in a record of a failed cell")
        return
    if record.clean is None:
        raise _fault(where, "clean", "is missing in a record of a finished cell")
    if record.cost is None:
        raise _fault(where, "cost", "is missing in a record of a finished cell")
    right = _check_clean(record.clean, where)
    ids = [threat.id for threat in record.threats]
    if len(set(ids)) != len(ids):
        raise _fault(where, "threats", "names one threat twice")
    for threat in record.threats:
        _check_threat(threat, right, where)


def _check_clean(clean: Clean, where: Path | None) -> BoolArray:
    """`[P]`: true where the clean score may count as right. A score that rounded to 0 may, on either side."""
    labels = _bits(clean.labels, where, "clean.labels")
    scores = _floats(clean.scores, where, "clean.scores")
    if len(labels) == 0 or len(labels) != len(scores):
        raise _fault(where, "clean.scores", f"has {len(scores)} values for {len(labels)} labels")
    if len(labels) % 2 or not labels[0::2].all() or labels[1::2].any():
        raise _fault(where, "clean.labels", "must be pairs: clicked, unclicked, clicked, ...")
    sizes = np.asarray(clean.impression_sizes, dtype=np.int64)
    shown = _bits(clean.impression_labels, where, "clean.impression_labels")
    shown_scores = _floats(clean.impression_scores, where, "clean.impression_scores")
    if len(sizes) == 0 or (sizes < 1).any() or not int(sizes.sum()) == len(shown) == len(shown_scores):
        raise _fault(where, "clean.impression_sizes", "do not add up to the labels and scores of the impressions")
    if len(clean.impression_users) != len(sizes):
        raise _fault(where, "clean.impression_users", "must name one user an impression")
    clicks = np.add.reduceat(shown.astype(np.int64), np.concatenate([[0], np.cumsum(sizes)[:-1]]))
    if ((clicks < 1) | (clicks >= sizes)).any():
        raise _fault(
            where,
            "clean.impression_labels",
            "must have a clicked and an unclicked candidate in every impression",
        )
    rounded: BoolArray = scores == 0
    return correct(labels, scores) | rounded


def _check_threat(threat: ThreatOutcome, right: BoolArray, where: Path | None) -> None:
    place = f"threats.{threat.id}"
    tiers = [outcome.tier for outcome in threat.tiers]
    if len(set(tiers)) != len(tiers) or threat.applicable != bool(tiers):
        raise _fault(where, place, "must have each tier once, and tiers exactly where it is applicable")
    for outcome in threat.tiers:
        robust = _bits(outcome.robust, where, f"{place}.{outcome.tier}.robust")
        if len(robust) != len(right):
            raise _fault(where, f"{place}.{outcome.tier}.robust", f"has {len(robust)} bits for {len(right)} examples")
        if (robust & ~right).any():
            raise _fault(where, f"{place}.{outcome.tier}.robust", "counts examples that are wrong on the clean input")
        for attack in outcome.attacks:
            name = f"{place}.{outcome.tier}.{attack.name}"
            attacked, broken = _bits(attack.attacked, where, name), _bits(attack.broken, where, name)
            if len(attacked) != len(right) or len(broken) != len(right) or (broken & ~attacked).any():
                raise _fault(where, name, "must have a bit an example, and break none that it did not attack")
            if (broken & robust).any():
                raise _fault(where, name, "broke examples that are counted as robust")


def _bits(column: Packed, where: Path | None, field: str) -> BoolArray:
    try:
        return column.to_bool()
    except RecordError as error:
        raise _fault(where, field, error.problem) from error


def _floats(column: Packed, where: Path | None, field: str) -> npt.NDArray[np.float32]:
    try:
        return column.to_float()
    except RecordError as error:
        raise _fault(where, field, error.problem) from error


def _fault(where: Path | None, field: str, problem: str) -> RecordError:
    return RecordError(
        problem,
        where=where,
        field=field,
        remedy=REMEDY,
    )
