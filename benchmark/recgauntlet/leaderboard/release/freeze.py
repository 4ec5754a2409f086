"""Freezing a release: good records in, a directory out whose files never change again."""

from __future__ import annotations

import datetime
import hashlib
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from recgauntlet.core.errors import OutputError
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.release.freezable import Wanted, cell_of, check_name, collected
from recgauntlet.leaderboard.release.summary import frozen_tasks, summary_rows
from recgauntlet.records.best_known import BestKnown, Challenged
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.io import read_records
from recgauntlet.records.manifest import MANIFEST, Counts, FrozenFile, Manifest
from recgauntlet.records.packed_cells import CELL, WORDS, packed_cells
from recgauntlet.records.packing import as_released
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.squeezed import SQUEEZED, squeezed

Told = Callable[[str, float], None]
BEST_KNOWN = "best_known"


def freeze(wanted: Wanted, *, progress: Told = lambda what, share: None) -> Path:
    """Write the release and return its directory: at once or not at all.

    Raises
    ------
    RecordError
        Naming everything that stands against it: the name, broken or failed records, records that may not stand in
        one ranking, of the other track, or several of one cell, best known attacks on no record of the release.
    OutputError
        Where the directory cannot be written.
    """
    check_name(wanted)
    progress("reading the records", 0.0)
    found = collected(wanted)
    released = []
    for number, (_, record) in enumerate(found.records):
        progress("packing", 0.2 + 0.2 * number / len(found.records))
        released.append((record, as_released(record, attack_scores=wanted.attack_scores)))
    files, entries = _files(released, [known for _, known in found.best_known])
    progress("computing the summary", 0.5)
    records = [record for _, record in released]
    summary = summary_rows(build_table(records))
    manifest = Manifest(
        name=wanted.name,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        recgauntlet=version("recgauntlet"),
        supersedes=wanted.supersedes,
        reason=wanted.reason,
        attack_scores=wanted.attack_scores,
        tasks=frozen_tasks(records),
        counts=Counts(
            records=len(records),
            failed=sum(record.status == "failed" for record in records),
            best_known=len(found.best_known),
            rows=len(summary),
        ),
        files=tuple(sorted(entries, key=lambda entry: entry.path)),
        summary=summary,
    ).sealed()
    progress("writing", 0.9)
    directory = _write(wanted, files, manifest)
    progress("done", 1.0)
    return directory


def _files(
    released: Sequence[tuple[RunRecord, RunRecord]], best_known: Sequence[BestKnown]
) -> tuple[dict[str, bytes], list[FrozenFile]]:
    """The files of the release by their paths, and their entries; `released` are pairs of a record before and after."""
    names = _names([f"{_folder(r)}/{_stem(r)}" for r, _ in released], [cell_of(r) for r, _ in released])
    folders: dict[str, dict[str, RunRecord]] = defaultdict(dict)
    digests: dict[str, tuple[str, str]] = {}
    for name, (source, record) in zip(names, released, strict=True):
        folder, _, stem = name.rpartition("/")
        folders[folder][stem + CELL] = record
        digests[name + CELL] = (record.digest, source.digest)
    files = {
        f"{folder}/{name}": content
        for folder, cells in folders.items()
        for name, content in packed_cells(cells).items()
    }
    stems = [
        f"{BEST_KNOWN}/{_slug(one.attack.name)}/{_folder(one.challenged)}/{_stem(one.challenged)}" for one in best_known
    ]
    for name, one in zip(_names(stems, [one.digest for one in best_known]), best_known, strict=True):
        files[f"{name}.json{SQUEEZED}"] = squeezed(to_bytes(one))
    entries = []
    for path, content in files.items():
        kind = "best-known" if path.endswith(SQUEEZED) else "columns"
        entry = FrozenFile(
            path=path,
            kind="words" if path.endswith(WORDS) else kind,
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
        )
        after, before = digests.get(path, ("", ""))
        entries.append(entry.model_copy(update={"record": after, "source": before}))
    return files, entries


def _names(stems: Sequence[str], contents: Sequence[str]) -> list[str]:
    """The stems; those that several have get a part of the hash of their content behind them."""
    lower = [stem.lower() for stem in stems]
    return [
        stem if lower.count(stem.lower()) == 1 else f"{stem}+{hashlib.sha256(content.encode()).hexdigest()[:10]}"
        for stem, content in zip(stems, contents, strict=True)
    ]


def _folder(cell: RunRecord | Challenged) -> str:
    return f"{_slug(cell.task.id)}/{cell.task.track}"


def _stem(cell: RunRecord | Challenged) -> str:
    return f"{_slug(cell.model.name)}-{_slug(cell.defense.name)}-{cell.seed}"


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
