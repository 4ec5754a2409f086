"""`recgauntlet release`: freeze results under a name, verify them, compare two of them, list what there is."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from recgauntlet.cli.options import DataOptions, data_options, track_option
from recgauntlet.cli.progress import with_bar
from recgauntlet.cli.release_export import export
from recgauntlet.cli.rerunning import keep, run_again
from recgauntlet.core.card import Track
from recgauntlet.core.errors import RecordError
from recgauntlet.core.escape import terminal
from recgauntlet.leaderboard.release.diff import ReleaseDiff, RowChange, diff_releases
from recgauntlet.leaderboard.release.freeze import Wanted
from recgauntlet.leaderboard.release.freeze import freeze as freeze_release
from recgauntlet.leaderboard.release.summary import plugins_of
from recgauntlet.leaderboard.release.verify import verify_release
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.records.io import read_records
from recgauntlet.records.manifest import MANIFEST, Finding, SummaryRow
from recgauntlet.records.release import Release, find_release, open_manifest, open_release, release_names, superseded_by
from recgauntlet.records.reruns import drawn, records_within
from recgauntlet.runner.submission.checks import not_installed
from recgauntlet.runner.weights import published

ROOT = click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    help="The directory in which releases lie.",
)


@click.group(short_help="Freeze results for good; verify, compare and list releases.")
def release() -> None:
    """Frozen results, which anyone can cite by name and find unchanged.

    A release is a directory below results/ with a manifest: the sum of every file, the versions of all that was
    measured, and a line of numbers a row. Once it is committed, no file of it changes; a correction is a release of
    its own. docs/results/records.md says what is frozen and how.

    \b
    Examples:
      recgauntlet release freeze 2027.1 --results results/mine
      recgauntlet release verify 2026.5
      recgauntlet release diff 2026.5 results/mine
      recgauntlet release list
      recgauntlet release export 2026.5
    """


release.add_command(export)


@release.command(short_help="Freeze records under a name.")
@click.argument("name")
@click.option(
    "--results",
    "directories",
    type=click.Path(file_okay=False, path_type=Path),
    multiple=True,
    required=True,
    help="A directory of records or a release; may be given more than once.",
)
@ROOT
@click.option("--supersedes", default="", show_default=False, metavar="OLD", help="The release that this one corrects.")
@click.option(
    "--reason", default="", show_default=False, metavar="TEXT", help="What was wrong with OLD, for its readers."
)
@track_option
@click.option("--without-failed", is_flag=True, help="Leave failed cells out instead of refusing them.")
@click.option("--newest", is_flag=True, help="Of several records of a cell and seed take the one that finished last.")
@click.option(
    "--weights",
    "repository",
    metavar="OWNER/NAME@COMMIT",
    help="Where the trained weights of these records were published (recgauntlet weights push prints it).",
)
@click.option(
    "--poison-tables",
    type=click.Path(file_okay=False, path_type=Path),
    help="The directory of the poison tables that the records were trained on; kept where the data may be passed on.",
)
@click.option(
    "--attack-scores", is_flag=True, help="Keep the score of every perturbed input too; the release is twice as large."
)
def freeze(
    name: str,
    directories: tuple[Path, ...],
    root: Path,
    supersedes: str,
    reason: str,
    track: Track,
    without_failed: bool,
    newest: bool,
    attack_scores: bool,
    repository: str | None,
    poison_tables: Path | None,
) -> None:
    """Freeze the records (and best known attacks) of --results as the release NAME, for example 2027.1.

    Every problem is reported at once, and nothing is written: broken or failed records; records of a task in another
    version, of other data or another attack suite, which cannot be compared in one ranking; several records of one
    cell; the demo track without --track demo; a name that is taken.

    \b
    Examples:
      recgauntlet release freeze 2027.1 --results results/mine
      recgauntlet release freeze 2026.5.1 --results results/2026.5 --results results/again --newest --supersedes 2026.5 --reason "wrong labels in news-click"
    """  # noqa: E501  an example is one line
    wanted = Wanted(
        name,
        directories,
        root,
        track,
        without_failed,
        newest,
        attack_scores,
        supersedes=supersedes,
        reason=reason,
        weights=published(repository, directories) if repository else None,
        poison_tables=poison_tables,
    )
    console = Console(highlight=False)
    directory = with_bar(Console(stderr=True), lambda progress: freeze_release(wanted, progress=progress))
    frozen = open_release(directory)
    _print_summary(console, frozen)
    if supersedes:
        _print_diff(console, diff_releases(open_release(supersedes, root), frozen))


@release.command(short_help="Check checksums, records and summary of a release.")
@click.argument("name")
@ROOT
@click.option("--rerun", is_flag=True, help="Run a cell that is drawn by lot, and keep the outcome beside NAME.")
@click.option("--lot", type=click.IntRange(0), help="The number that draws the cell. [at random]")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:0 or mps, for the cell.")
@data_options
@click.pass_context
def verify(
    ctx: click.Context, name: str, root: Path, rerun: bool, lot: int | None, device: str, data: DataOptions
) -> None:
    """Check the release NAME: checksums, the digest and columns of every record, fingerprints, and the summary computed
    again from the records.

    With --rerun one finished cell and its twin are trained and attacked again, as long as they took, with the installed
    tasks and suite. NAME.reruns.json beside the release keeps the lot and a hash of the numbers; where they equal those
    of the record, the board shows it.

    Every problem is printed with its file and field; the exit code is 1 if there are any.

    \b
    Examples:
      recgauntlet release verify 2026.5
      recgauntlet release verify elsewhere/2026.5
      recgauntlet release verify 2026.5 --rerun --lot 7
    """
    directory = find_release(name, root)
    if not (directory / MANIFEST).is_file():
        raise RecordError(
            "is no frozen release", where=directory, remedy="freeze it: recgauntlet release freeze --help"
        )
    findings = [*with_bar(Console(stderr=True), lambda progress: verify_release(directory, progress=progress))]
    for newer in superseded_by(directory.resolve().name, directory.resolve().parent):
        click.echo(f"superseded by {newer}: cite that one")
    if rerun and not findings:
        findings += _again(directory, secrets.randbelow(1_000_000) if lot is None else lot, device, data)
    for finding in findings:
        click.echo(terminal(str(finding)))
    click.echo(f"{terminal(directory.resolve().name)}: {len(findings) or 'no'} findings")
    ctx.exit(1 if findings else 0)


def _again(directory: Path, lot: int, device: str, data: DataOptions) -> list[Finding]:
    """What differs too much when the cell on which `lot` falls is run again; nothing is run where tasks, suite or
    plugins are other ones."""
    records = records_within(directory, read_records(directory))
    path = drawn(records, lot)
    record = records[path]
    faults = [Finding(path, field, f"{problem}; no cell was run again") for field, problem in not_installed(record)]
    if not faults:
        console = Console(highlight=False)
        found = run_again(console, path, record, lot, data.sources(), device)
        keep(console, directory, record, found, lot)
        faults = [*found.findings]
    return faults


@release.command(short_help="Compare two releases row by row.")
@click.argument("first")
@click.argument("second")
@ROOT
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every number unrounded.")
def diff(first: str, second: str, root: Path, as_json: bool) -> None:
    """What is new, gone or changed from FIRST to SECOND: clean and robust accuracy, ranks, flags, seeds, versions.

    Both are names of releases or paths of directories with records. Tasks that were measured with another suite, data
    or version are named: their numbers may not be compared.

    \b
    Examples:
      recgauntlet release diff 2026.5 2026.5.1
      recgauntlet release diff 2026.5 results/mine --json
    """
    found = diff_releases(open_release(first, root), open_release(second, root))
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1, sort_keys=True))
    else:
        _print_diff(Console(highlight=False), found)


@release.command("list", short_help="List the releases.")
@ROOT
def list_(root: Path) -> None:
    """List the releases below --root: what they hold, when they were frozen, and which are superseded.

    \b
    Examples:
      recgauntlet release list
    """
    console = Console(highlight=False)
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
            _add(table, name, "not frozen")
            continue
        remarks = [f"superseded by {newer}" for newer in superseded_by(name, root)]
        if manifest.supersedes:
            remarks.append(f"supersedes {manifest.supersedes}: {manifest.reason}")
        suites = sorted({f"{task.suite.id} {task.suite.version}" for task in manifest.tasks})
        tasks = sorted({task.id for task in manifest.tasks})
        counts = str(manifest.counts.records), str(manifest.counts.rows)
        _add(table, name, manifest.date, ", ".join(suites), ", ".join(tasks), *counts, "; ".join(remarks))
    console.print(table)


def _print_summary(console: Console, release: Release) -> None:
    """A frozen release: its rows, what it holds and how large it is."""
    manifest = release.manifest
    assert manifest is not None  # it has just been frozen
    for task in dict.fromkeys((row.task, row.track) for row in manifest.summary):
        console.print(terminal(f"{task[0]}, {task[1]} track"), markup=False, style="bold", soft_wrap=True)
        table = _table("row", "rank", "clean", "robust", "under", "seeds", "flags")
        for row in manifest.summary:
            if (row.task, row.track) == task:
                _add(table, plugins_of(row), *_figures(row))
        console.print(table)
    size = sum(file.bytes for file in manifest.files)
    counts = manifest.counts
    explained = f"{counts.explanations} explanations, " if counts.explanations else ""
    console.print(
        f"{manifest.name}: {counts.records} records ({counts.failed} failed), {counts.best_known} best known attacks, "
        f"{explained}{counts.rows} rows, {size / 1e6:.1f} MB in {release.directory}",
        markup=False,
        soft_wrap=True,
    )
    console.print(f"manifest sha256 {release.digest}", markup=False, soft_wrap=True)


def _print_diff(console: Console, found: ReleaseDiff) -> None:
    """The rows that differ, old value and new."""
    for setting in found.settings:
        text = terminal(f"{setting.task} ({setting.track}): numbers may not be compared: {setting.why}")
        console.print(text, markup=False, soft_wrap=True)
    for task in dict.fromkeys((change.row.task, change.row.track) for change in found.changes):
        console.print(terminal(f"{task[0]}, {task[1]} track"), markup=False, style="bold", soft_wrap=True)
        table = _table("", "row", "rank", "clean", "robust", "under", "seeds", "flags")
        for change in found.changes:
            if (change.row.task, change.row.track) == task:
                _add(table, change.kind, _name(change), *_both(change))
        console.print(table)
    count = {kind: sum(change.kind == kind for change in found.changes) for kind in ("new", "gone", "changed")}
    console.print(
        terminal(f"{found.first} -> {found.second}: ")
        + ", ".join(f"{number} {kind}" for kind, number in count.items()),
        f"and {found.same} the same",
        markup=False,
        soft_wrap=True,
    )


def _name(change: RowChange) -> str:
    parts = [plugins_of(change.row)]
    if change.was is not None and change.now is not None:
        for kind in ("model", "defense"):
            versions = (getattr(change.was, kind).version, getattr(change.now, kind).version)
            if versions[0] != versions[1]:
                parts.append(f"({kind} {versions[0]} -> {versions[1]})")
    options = change.row.defense.hyperparameters
    if options:
        parts.append(", ".join(f"{name}={value}" for name, value in sorted(options.items())))
    return " ".join(parts)


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


def _percent(interval: Estimate, exact: bool) -> str:
    digits = 2 if exact else 1
    values = (f"{100 * value:.{digits}f}" for value in (interval.value, interval.low, interval.high))
    return "{} [{},{}]".format(*values)


def _table(*headings: str) -> Table:
    narrow = {"", "rank", "clean", "robust", "seeds"}
    columns = [Column(heading, overflow="fold", no_wrap=heading in narrow) for heading in headings]
    return Table(*columns, box=None, pad_edge=False)


def _add(table: Table, *cells: str) -> None:
    table.add_row(*(Text(terminal(cell)) for cell in cells))
