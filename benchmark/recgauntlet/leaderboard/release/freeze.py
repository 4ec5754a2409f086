"""Freezing a release: records are checked and written to a directory whose files never change again."""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from recgauntlet.core.card import Track
from recgauntlet.core.errors import OutputError, RecordError
from recgauntlet.core.escape import terminal
from recgauntlet.leaderboard.best_known import without_record
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.explanations import misplaced
from recgauntlet.leaderboard.release.poison_tables import collect
from recgauntlet.leaderboard.release.summary import count, frozen_tasks, mixed_settings, summary_rows
from recgauntlet.records.best_known import BestKnown, Challenged
from recgauntlet.records.columns import FloatColumn
from recgauntlet.records.digest import COMPRESSED, compress, to_bytes
from recgauntlet.records.explanations import FOLDER, ExplainedDecision
from recgauntlet.records.io import read_records
from recgauntlet.records.manifest import MANIFEST, RANKS, FileKind, FrozenFile, Manifest, Weights, is_file_safe
from recgauntlet.records.release import ROOT, find_release, open_manifest, release_names, superseded_by
from recgauntlet.records.schema import RunRecord, TierOutcome

Progress = Callable[[str, float], None]
BEST_KNOWN = "best_known"


@dataclass(frozen=True)
class Wanted:
    """What to freeze: the records below `directories`, as the directory `root`/`name`."""

    name: str
    directories: tuple[Path, ...]
    root: Path = ROOT
    track: Track = "standard"
    without_failed: bool = False
    """Leave records of failed cells out."""
    newest: bool = False
    """Of several records of a cell take the one that finished last."""
    attack_scores: bool = False
    """Keep the scores of every perturbed input, which doubles the size."""
    supersedes: str = ""
    """The release that this one corrects."""
    reason: str = ""
    """What was wrong with it."""
    weights: Weights | None = None
    """Published weights of the cells; those of cells that are not frozen are left out."""
    poison_tables: Path | None = None
    """A directory with the poison tables that the records were trained on; those of data that may be passed on are
    frozen too."""


def freeze(wanted: Wanted, *, progress: Progress = lambda what, share: None) -> Path:
    """Write the release atomically, and return its directory.

    Raises
    ------
    RecordError
        Naming every problem: the name, broken or failed records, records that cannot be compared in one ranking, of the
        other track, or several of one cell, best known attacks on no record of the release, and poison tables that are
        not there.
    OutputError
        Where the directory cannot be written.
    """
    _check_name(wanted)
    progress("reading the records", 0.0)
    collected, best_known, explanations = _collected(wanted)
    sources = [record.sealed() for record in collected]
    records = [record if wanted.attack_scores else _without_attack_scores(record) for record in sources]
    progress("compressing", 0.2)
    files, entries = _files(sources, records, best_known, explanations)
    if wanted.poison_tables is not None:
        tables = _poison_tables(records, wanted.poison_tables)
        files |= tables
        entries += tuple(_entry(path, "poison-table", content) for path, content in sorted(tables.items()))
    progress("computing the summary", 0.5)
    summary = summary_rows(build_table(records))
    manifest = Manifest(
        name=wanted.name,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        recgauntlet=version("recgauntlet"),
        supersedes=wanted.supersedes,
        reason=wanted.reason,
        attack_scores=wanted.attack_scores,
        tasks=frozen_tasks(records),
        counts=count(records, len(best_known), len(explanations), summary),
        files=entries,
        ranks=RANKS,
        summary=summary,
        weights=_weights_of(sources, wanted.weights),
    ).sealed()
    progress("writing", 0.9)
    directory = _write(wanted, files, manifest)
    progress("done", 1.0)
    return directory


def _weights_of(sources: Sequence[RunRecord], weights: Weights | None) -> Weights | None:
    digests = {record.digest for record in sources}
    files = () if weights is None else tuple(file for file in weights.files if file.record in digests)
    return weights.model_copy(update={"files": files}) if weights is not None and files else None


def _without_attack_scores(record: RunRecord) -> RunRecord:
    """The record without the columns `threats[].tiers[].attacks[].scores`. They are more than half of a record, and no
    table or page is computed from them: `attacked`, `broken` and `robust` hold what was broken."""
    empty = {"scores": FloatColumn.of(np.zeros(0))}

    def lean(tier: TierOutcome) -> TierOutcome:
        return tier.model_copy(update={"attacks": tuple(a.model_copy(update=empty) for a in tier.attacks)})

    threats = tuple(t.model_copy(update={"tiers": tuple(map(lean, t.tiers))}) for t in record.threats)
    return record.model_copy(update={"threats": threats}).sealed()


def _files(
    sources: Sequence[RunRecord],
    records: Sequence[RunRecord],
    best_known: Sequence[BestKnown],
    explanations: Sequence[ExplainedDecision],
) -> tuple[dict[str, bytes], tuple[FrozenFile, ...]]:
    """The files of the release by their paths, and their entries in the manifest; names that differ in case alone get a
    part of a hash. `sources` are the records before their attack scores were left out."""
    planned: list[tuple[str, str, RunRecord | BestKnown | ExplainedDecision, str]] = [
        (_stem(record), cell_of(record), record, source.digest) for record, source in zip(records, sources, strict=True)
    ]
    planned += [
        (f"{BEST_KNOWN}/{_slug(one.attack.name)}/{_stem(one.challenged)}", one.digest, one, "") for one in best_known
    ]
    planned += [
        (f"{FOLDER}/{_stem(one.explained)}-{one.example}-{_slug(one.threat)}-{one.tier}", one.digest, one, "")
        for one in explanations
    ]
    alike = Counter(stem.lower() for stem, *_ in planned)
    files: dict[str, bytes] = {}
    entries: list[FrozenFile] = []
    for stem, identity, content, source_digest in planned:
        mark = f"+{hashlib.sha256(identity.encode()).hexdigest()[:10]}" if alike[stem.lower()] > 1 else ""
        path, data = f"{stem}{mark}.json{COMPRESSED}", compress(to_bytes(content))
        files[path] = data
        entry = _entry(path, _kind_of(content), data)
        digest = content.digest if isinstance(content, RunRecord) else ""
        entries.append(entry.model_copy(update={"record": digest, "source": source_digest}))
    return files, tuple(sorted(entries, key=lambda entry: entry.path))


def _kind_of(content: RunRecord | BestKnown | ExplainedDecision) -> FileKind:
    return "record" if isinstance(content, RunRecord) else content.kind


def _entry(path: str, kind: FileKind, content: bytes) -> FrozenFile:
    return FrozenFile(path=path, kind=kind, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def _poison_tables(records: Sequence[RunRecord], directory: Path) -> dict[str, bytes]:
    if not directory.is_dir():
        raise RecordError("is no directory", where=directory, field="--poison-tables", remedy="check the path")
    files, missing = collect(records, directory)
    if missing:
        raise RecordError(
            f"lacks {len(missing)} of the poison tables that the records were trained on, such as {missing[0]}",
            where=directory,
            field="--poison-tables",
            remedy="name the directory that `recgauntlet poison make` printed on the machine where the cells ran",
        )
    return files


def _stem(cell: RunRecord | Challenged) -> str:
    names = f"{_slug(cell.model.name)}-{_slug(cell.defense.name)}-{cell.seed}"
    return f"{_slug(cell.task.id)}/{cell.task.track}/{names}"


def _slug(text: str) -> str:
    """A plugin's name as a part of a file's: whatever it is, the file lies where it should."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:40] or "unnamed"


def _write(wanted: Wanted, files: dict[str, bytes], manifest: Manifest) -> Path:
    target = wanted.root / wanted.name
    try:
        wanted.root.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=wanted.root, prefix=f".{wanted.name}.", suffix=".part"))
        try:
            for name, content in {**files, MANIFEST: manifest.to_bytes()}.items():
                path = part / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            broken = read_records(part).broken
            if broken:
                raise OutputError(
                    f"did not read back as it was written ({broken[0][1].problem})",
                    where=broken[0][0],
                    remedy="check the disk, and freeze again",
                )
            part.chmod(0o755)
            part.rename(target)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror})", where=target, remedy="free some disk space, or choose another root"
        ) from error
    return target


def _check_name(wanted: Wanted) -> None:
    """RecordError where no release may have this name, or supersede what it should."""
    name, root = wanted.name, wanted.root

    def fault(problem: str, remedy: str, field: str = "NAME", where: Path | None = None) -> RecordError:
        return RecordError(problem, where=where, field=field, remedy=remedy)

    if not is_file_safe(name):
        rule = "letters, digits, dots, hyphens and underscores, a letter or digit first and last: 2026.1"
        raise fault(f"{name!r} cannot be the name of a release", f"take {rule}")
    taken = [other for other in release_names(root) if other.lower() == name.lower()]
    if taken or (root / name).exists():
        remedy = "take another name; a correction is a release of its own (--supersedes, --reason)"
        raise fault("is there already, and a release never changes", remedy, where=root / (taken or [name])[0])
    if bool(wanted.supersedes) != bool(wanted.reason.strip()):
        field = "--reason" if wanted.supersedes else "--supersedes"
        remedy = "give both --supersedes and --reason, or neither"
        raise fault("a correction names the release that it supersedes, and why", remedy, field)
    if wanted.supersedes:
        old = find_release(wanted.supersedes, root)
        if old.resolve().parent != root.resolve() or open_manifest(old) is None:
            raise fault("is no frozen release", f"name a release below {root}", "--supersedes", old)
        if newer := superseded_by(old.name, root):
            raise fault(f"is superseded by {newer[0]} already", f"supersede {newer[0]}", "--supersedes", old)


def _collected(wanted: Wanted) -> tuple[list[RunRecord], list[BestKnown], list[ExplainedDecision]]:
    """The records, best known attacks and explanations of all directories, each once; RecordError with every problem of
    them."""
    faults: list[str] = []
    records: dict[str, tuple[Path, RunRecord]] = {}
    best_known: dict[str, tuple[Path, BestKnown]] = {}
    explanations: dict[str, tuple[Path, ExplainedDecision]] = {}
    for directory in wanted.directories:
        if not directory.is_dir():
            raise RecordError("is no directory", where=directory, field="--results", remedy="check the path")
        results = read_records(directory)
        faults += [f"{path}: broken: {error.problem}" for path, error in results.broken]
        for path, record in results.records:
            records.setdefault(record.digest, (path, record))
        for path, known in results.best_known:
            best_known.setdefault(known.digest, (path, known))
        for path, one in results.explanations:
            explanations.setdefault(one.digest, (path, one))
    kept = [(path, record) for path, record in records.values() if not (wanted.without_failed and record.failure)]
    kept, doubled = _one_a_cell(kept, newest=wanted.newest)
    faults += doubled
    for path, record in kept:
        if record.failure is not None:
            faults.append(f"{path}: failed ({record.failure.stage}): leave it out with --without-failed")
        if record.task.track != wanted.track:
            faults.append(f"{path}: is of the {record.task.track} track, which needs --track {record.task.track}")
        if wanted.attack_scores and not record.has_attack_scores:
            faults.append(f"{path}: has no scores of attacks any more, which --attack-scores would keep")
    for place, why in mixed_settings([record for _, record in kept]).items():
        faults.append(f"{kept[place][0]}: cannot stand in one ranking with most others: {why}")
    challenges = [one for _, one in best_known.values()]
    loose = {one.digest for one in without_record([record for _, record in kept], challenges)}
    faults += [f"{path}: challenges no record here" for path, one in best_known.values() if one.digest in loose]
    own = [record for _, record in kept]
    faults += [f"{path}: {bad.problem}" for path, one in explanations.values() if (bad := misplaced(own, one))]
    if faults:
        raise RecordError(
            f"cannot be frozen, for {len(faults)} {'reasons' if len(faults) > 1 else 'reason'}:\n"
            + "\n".join(f"  {terminal(fault)}" for fault in sorted(faults)),
            where=wanted.name,
            remedy="mend, move or leave out each of them: a release holds only records that can be compared",
        )
    if not kept:
        raise RecordError(
            "has no records", where=wanted.name, field="--results", remedy="give a directory that holds records"
        )
    return own, challenges, [one for _, one in explanations.values()]


def _one_a_cell(
    found: Sequence[tuple[Path, RunRecord]], *, newest: bool
) -> tuple[list[tuple[Path, RunRecord]], list[str]]:
    """One record a cell and seed, and the faults where there are several and `newest` is not wanted."""
    cells: dict[str, list[tuple[Path, RunRecord]]] = defaultdict(list)
    for path, record in found:
        cells[cell_of(record)].append((path, record))
    if newest:
        return [max(same, key=lambda pair: pair[1].age) for same in cells.values()], []
    faults = [
        f"{', '.join(str(path) for path, _ in same)}: are of one cell and seed; --newest takes what finished last"
        for same in cells.values()
        if len(same) > 1
    ]
    return list(found), faults


def cell_of(record: RunRecord) -> str:
    """What makes two records those of one cell and seed: task, track, plugins with all options and their source,
    seed, and the number of test pairs."""
    parts = (record.task.id, record.task.track, record.model.key, record.defense.key, record.seed)
    known = [part if isinstance(part, str | int) else sorted(part.model_dump().items()) for part in parts]
    return repr(known if record.first_pairs is None else [*known, record.first_pairs.pairs])
