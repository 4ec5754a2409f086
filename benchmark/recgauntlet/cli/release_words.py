"""Releases in the terminal: a summary, a list, and what differs between two."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from recgauntlet.core.errors import RecordError
from recgauntlet.core.plain import plain
from recgauntlet.leaderboard.release.diff import ReleaseDiff, RowChange
from recgauntlet.leaderboard.release.summary import plugins_of
from recgauntlet.records.manifest import Interval, SummaryRow
from recgauntlet.records.release import Release, open_manifest, release_names, superseded_by


def print_summary(console: Console, release: Release) -> None:
    """A frozen release: its rows, what it holds and how large it is."""
    manifest = release.manifest
    assert manifest is not None  # it has just been frozen
    for task in dict.fromkeys((row.task, row.track) for row in manifest.summary):
        console.print(plain(f"{task[0]}, {task[1]} track"), markup=False, style="bold", soft_wrap=True)
        table = _table("row", "rank", "clean", "robust", "under", "seeds", "flags")
        for row in manifest.summary:
            if (row.task, row.track) == task:
                _add(table, plugins_of(row), *_figures(row))
        console.print(table)
    size = sum(file.bytes for file in manifest.files)
    counts = manifest.counts
    console.print(
        f"{manifest.name}: {counts.records} records ({counts.failed} failed), {counts.best_known} best known attacks, "
        f"{counts.rows} rows, {size / 1e6:.1f} MB in {release.directory}",
        markup=False,
        soft_wrap=True,
    )
    console.print(f"manifest sha256 {release.digest}", markup=False, soft_wrap=True)


def print_list(console: Console, root: Path) -> None:
    """Every directory below `root`, frozen ones with their date, the others said to be none."""
    names = release_names(root)
    if not names:
        console.print(f"no releases below {root}", markup=False)
        return
    table = _table("name", "frozen", "suite", "tasks", "records", "rows", "remark")
    for name in names:
        try:
            manifest = open_manifest(root / name)
        except RecordError as error:
            _add(table, name, "", "", "", "", "", f"BROKEN: {error.problem}")
            continue
        if manifest is None:
            _add(table, name, "not frozen", "", "", "", "", "")
            continue
        remarks = [f"superseded by {newer}" for newer in superseded_by(name, root)]
        if manifest.supersedes:
            remarks.append(f"supersedes {manifest.supersedes}: {manifest.reason}")
        _add(
            table,
            name,
            manifest.date,
            ", ".join(sorted({f"{task.suite.id} {task.suite.version}" for task in manifest.tasks})),
            ", ".join(sorted({task.id for task in manifest.tasks})),
            str(manifest.counts.records),
            str(manifest.counts.rows),
            "; ".join(remarks),
        )
    console.print(table)


def print_diff(console: Console, found: ReleaseDiff) -> None:
    """The rows that differ, old value and new."""
    for ground in found.grounds:
        console.print(
            plain(f"{ground.task} ({ground.track}): numbers may not be compared: {ground.why}"),
            markup=False,
            soft_wrap=True,
        )
    for task in dict.fromkeys((change.row.task, change.row.track) for change in found.changes):
        console.print(plain(f"{task[0]}, {task[1]} track"), markup=False, style="bold", soft_wrap=True)
        table = _table("", "row", "rank", "clean", "robust", "under", "seeds", "flags")
        for change in found.changes:
            if (change.row.task, change.row.track) == task:
                _add(table, change.kind, _name(change), *_both(change))
        console.print(table)
    count = {kind: sum(change.kind == kind for change in found.changes) for kind in ("new", "gone", "changed")}
    console.print(
        plain(f"{found.first} -> {found.second}: ") + ", ".join(f"{number} {kind}" for kind, number in count.items()),
        f"and {found.same} the same",
        markup=False,
        soft_wrap=True,
    )


def _name(change: RowChange) -> str:
    told = [plugins_of(change.row)]
    if change.was is not None and change.now is not None:
        for kind in ("model", "defense"):
            versions = (getattr(change.was, kind).version, getattr(change.now, kind).version)
            if versions[0] != versions[1]:
                told.append(f"({kind} {versions[0]} -> {versions[1]})")
    options = change.row.defense.hyperparameters
    if options:
        told.append(", ".join(f"{name}={value}" for name, value in sorted(options.items())))
    return " ".join(told)


def _both(change: RowChange) -> list[str]:
    if change.was is None or change.now is None:
        return _figures(change.row)
    pairs = zip(_figures(change.was, exact=True), _figures(change.now, exact=True), strict=True)
    return [now if was == now else f"{was or 'none'} -> {now or 'none'}" for was, now in pairs]


def _figures(row: SummaryRow, *, exact: bool = False) -> list[str]:
    return [
        "unranked" if row.rank is None else str(row.rank),
        _percent(row.clean, exact),
        "" if row.robust is None else _percent(row.robust, exact),
        row.worst or "",
        ",".join(map(str, row.seeds)),
        "; ".join(row.flags),
    ]


def _percent(interval: Interval, exact: bool) -> str:
    digits = 2 if exact else 1
    values = (f"{100 * value:.{digits}f}" for value in (interval.value, interval.low, interval.high))
    return "{} [{},{}]".format(*values)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading in {"", "rank", "clean", "robust", "seeds"})
    return table


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(Text(plain(cell)) for cell in cells))
