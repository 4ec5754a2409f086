"""What may be frozen: everything that stands against a release, found and told at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recgauntlet.core.card import Track
from recgauntlet.core.errors import RecordError
from recgauntlet.core.plain import plain
from recgauntlet.leaderboard.best_known import without_record
from recgauntlet.leaderboard.release.summary import mixed_grounds
from recgauntlet.records.best_known import BestKnown
from recgauntlet.records.io import read_records
from recgauntlet.records.manifest import is_file_safe
from recgauntlet.records.release import ROOT, find_release, open_manifest, release_names, superseded_by
from recgauntlet.records.schema import RunRecord


@dataclass(frozen=True)
class Wanted:
    """What to freeze, and how: under which name, below which root, the records of which directories and track.

    `without_failed` leaves failed cells out; `newest` lets the record that finished last stand for a cell of which
    there are several; `attack_scores` keeps the scores of every perturbed input, which doubles the size. `supersedes`
    names the release that this one corrects, for a `reason`.
    """

    name: str
    directories: tuple[Path, ...]
    root: Path = ROOT
    track: Track = "standard"
    without_failed: bool = False
    newest: bool = False
    attack_scores: bool = False
    supersedes: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Found:
    """What is to be frozen, with the file of each."""

    records: tuple[tuple[Path, RunRecord], ...]
    best_known: tuple[tuple[Path, BestKnown], ...]


def check_name(wanted: Wanted) -> None:
    """RecordError where no release may have this name, or supersede what it should."""
    name, root = wanted.name, wanted.root
    if not is_file_safe(name):
        raise RecordError(
            f"{name!r} cannot be the name of a release",
            field="NAME",
            remedy="take letters, digits, dots, hyphens and underscores, a letter or digit first and last: 2026.1",
        )
    taken = [other for other in release_names(root) if other.lower() == name.lower()]
    if taken or (root / name).exists():
        raise RecordError(
            "is there already, and a release never changes",
            where=root / (taken[0] if taken else name),
            field="NAME",
            remedy="take another name; a correction is a release of its own (--supersedes, --reason)",
        )
    if bool(wanted.supersedes) != bool(wanted.reason.strip()):
        raise RecordError(
            "a correction names the release that it supersedes, and why",
            field="--reason" if wanted.supersedes else "--supersedes",
            remedy="give both --supersedes and --reason, or neither",
        )
    if wanted.supersedes:
        old = find_release(wanted.supersedes, root)
        if old.resolve().parent != root.resolve() or open_manifest(old) is None:
            raise RecordError(
                "is no frozen release", where=old, field="--supersedes", remedy=f"name a release below {root}"
            )
        newer = superseded_by(old.name, root)
        if newer:
            raise RecordError(
                f"is superseded by {newer[0]} already",
                where=old,
                field="--supersedes",
                remedy=f"supersede {newer[0]}",
            )


def collected(wanted: Wanted) -> Found:
    """The records and best known attacks of all directories, each once; RecordError with all that is against them."""
    faults: list[str] = []
    records: dict[str, tuple[Path, RunRecord]] = {}
    best_known: dict[str, tuple[Path, BestKnown]] = {}
    for directory in wanted.directories:
        if not directory.is_dir():
            raise RecordError("is no directory", where=directory, field="--results", remedy="check the path")
        results = read_records(directory)
        faults += [f"{path}: broken: {error.problem}" for path, error in results.broken]
        for path, record in results.records:
            records.setdefault(record.digest, (path, record))
        for path, known in results.best_known:
            best_known.setdefault(known.digest, (path, known))
    kept = [(path, record) for path, record in records.values() if not (wanted.without_failed and record.failure)]
    kept, doubled = _one_a_cell(kept, newest=wanted.newest)
    faults += doubled
    for path, record in kept:
        if record.failure is not None:
            faults.append(f"{path}: failed ({record.failure.stage}): leave it out with --without-failed")
        if record.task.track != wanted.track:
            faults.append(f"{path}: is of the {record.task.track} track, which needs --track {record.task.track}")
        if wanted.attack_scores and not _has_scores(record):
            faults.append(f"{path}: has no scores of attacks any more, which --attack-scores would keep")
    for place, (_, why) in mixed_grounds([record for _, record in kept]).items():
        faults.append(f"{kept[place][0]}: cannot stand in one ranking with most others: {why}")
    challenges = [one for _, one in best_known.values()]
    loose = {one.digest for one in without_record([record for _, record in kept], challenges)}
    faults += [f"{path}: challenges no record here" for path, one in best_known.values() if one.digest in loose]
    if faults:
        raise RecordError(
            f"cannot be frozen, for {len(faults)} {'reasons' if len(faults) > 1 else 'reason'}:\n"
            + "\n".join(f"  {plain(fault)}" for fault in sorted(faults)),
            where=wanted.name,
            remedy="mend, move or leave out each of them: a release holds what may be compared, and nothing else",
        )
    if not kept:
        raise RecordError(
            "has no records", where=wanted.name, field="--results", remedy="give a directory that holds records"
        )
    return Found(tuple(kept), tuple(best_known.values()))


def _one_a_cell(
    found: Sequence[tuple[Path, RunRecord]], *, newest: bool
) -> tuple[list[tuple[Path, RunRecord]], list[str]]:
    """One record a cell and seed, and what is to be said where there are several and `newest` is not wanted."""
    cells: dict[str, list[tuple[Path, RunRecord]]] = defaultdict(list)
    for path, record in found:
        cells[cell_of(record)].append((path, record))
    if newest:
        last = [max(same, key=lambda p: (p[1].status == "ok", p[1].finished, p[1].digest)) for same in cells.values()]
        return last, []
    told = [
        f"{', '.join(str(path) for path, _ in same)}: are of one cell and seed; --newest takes what finished last"
        for same in cells.values()
        if len(same) > 1
    ]
    return list(found), told


def cell_of(record: RunRecord) -> str:
    """What makes two records those of one cell and seed: task, track, plugins with all options, seed."""
    parts = (record.task.id, record.task.track, record.model.key, record.defense.key, record.seed)
    return repr([part if isinstance(part, str | int) else sorted(part.model_dump().items()) for part in parts])


def _has_scores(record: RunRecord) -> bool:
    attacks = [attack for threat in record.threats for tier in threat.tiers for attack in tier.attacks]
    return all(attack.scores.n or not attack.attacked.to_bool().any() for attack in attacks)
