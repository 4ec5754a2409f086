"""`recgauntlet release`: freeze results under a name, verify them, compare two of them, list what there is."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console

from recgauntlet.cli.progress import with_bar
from recgauntlet.core.card import Track

ROOT = click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    show_default=True,
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
      recgauntlet release freeze 2026.1 --results results/mine
      recgauntlet release verify 2026.1
      recgauntlet release diff 2026.1 results/mine
      recgauntlet release list
    """


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
@click.option("--supersedes", default="", metavar="OLD", help="The release that this one corrects.")
@click.option("--reason", default="", metavar="TEXT", help="What was wrong with OLD, for its readers.")
@click.option("--track", type=click.Choice(["standard", "demo"]), default="standard", show_default=True)
@click.option("--without-failed", is_flag=True, help="Leave failed cells out instead of refusing them.")
@click.option("--newest", is_flag=True, help="Of several records of a cell and seed take the one that finished last.")
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
) -> None:
    """Freeze the records (and best known attacks) of --results as the release NAME, for example 2026.1.

    Everything that stands against it is named at once, and nothing is written: broken or failed records; records of
    a task in another version, of other data or another attack suite, which may not stand in one ranking; several
    records of one cell; the demo track, unless it is asked for; a name that is taken.

    \b
    Examples:
      recgauntlet release freeze 2026.1 --results results/mine
      recgauntlet release freeze 2026.1.1 --results results/2026.1 --results results/again --newest --supersedes 2026.1 --reason "wrong labels in news-click"
    """  # noqa: E501  an example is one line
    from recgauntlet.cli.release_words import print_diff, print_summary
    from recgauntlet.leaderboard.release.diff import diff_releases
    from recgauntlet.leaderboard.release.freezable import Wanted
    from recgauntlet.leaderboard.release.freeze import freeze
    from recgauntlet.records.release import open_release

    wanted = Wanted(
        name, directories, root, track, without_failed, newest, attack_scores, supersedes=supersedes, reason=reason
    )
    console = Console(highlight=False)
    directory = with_bar(Console(stderr=True), lambda progress: freeze(wanted, progress=progress))
    frozen = open_release(directory)
    print_summary(console, frozen)
    if supersedes:
        print_diff(console, diff_releases(open_release(supersedes, root), frozen))


@release.command(short_help="Check a release from the ground up.")
@click.argument("name")
@ROOT
@click.pass_context
def verify(ctx: click.Context, name: str, root: Path) -> None:
    """Check the release NAME from the ground up: sums, digests, columns, fingerprints, git's history, and the summary
    computed from the records again.

    All findings are told, each with its file and field; the exit code is 1 if there are any.

    \b
    Examples:
      recgauntlet release verify 2026.1
      recgauntlet release verify elsewhere/2026.1
    """
    from recgauntlet.core.errors import RecordError
    from recgauntlet.core.plain import plain
    from recgauntlet.leaderboard.release.frozen import changes_in_history
    from recgauntlet.leaderboard.release.verify import verify_release
    from recgauntlet.records.manifest import MANIFEST
    from recgauntlet.records.release import find_release, superseded_by

    directory = find_release(name, root)
    if not (directory / MANIFEST).is_file():
        raise RecordError(
            "is no frozen release", where=directory, remedy="freeze it: recgauntlet release freeze --help"
        )
    findings = with_bar(Console(stderr=True), lambda progress: verify_release(directory, progress=progress))
    for newer in superseded_by(directory.resolve().name, directory.resolve().parent):
        click.echo(f"superseded by {newer}: cite that one")
    unknown = changes_in_history(directory.parent).unknown
    if unknown:
        click.echo(f"not compared with its history: {plain(unknown)}")
    for finding in findings:
        click.echo(plain(str(finding)))
    click.echo(f"{plain(directory.resolve().name)}: {len(findings) or 'no'} findings")
    ctx.exit(1 if findings else 0)


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
      recgauntlet release diff 2026.1 2026.1.1
      recgauntlet release diff 2026.1 results/mine --json
    """
    from recgauntlet.cli.release_words import print_diff
    from recgauntlet.leaderboard.release.diff import diff_releases
    from recgauntlet.records.release import open_release

    found = diff_releases(open_release(first, root), open_release(second, root))
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=1, sort_keys=True))
    else:
        print_diff(Console(highlight=False), found)


@release.command("list", short_help="List the releases.")
@ROOT
def list_(root: Path) -> None:
    """List the releases below --root: what they hold, when they were frozen, and which are superseded.

    \b
    Examples:
      recgauntlet release list
    """
    from recgauntlet.cli.release_words import print_list

    print_list(Console(highlight=False), root)
