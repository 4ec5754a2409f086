"""The command `recgauntlet site`: records in, the pages of a leaderboard out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from recgauntlet.core.errors import OutputError
from recgauntlet.core.files import CURRENT

if TYPE_CHECKING:
    from recgauntlet_site.build import Built

_MANY = 600
"""Files of records from which on processes begin before anything is read: there will be pages for them to make, even
where nothing is new."""
_ENDINGS = (".json", ".json.xz", ".cell")


@click.command("site", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--results",
    "directories",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    default=(Path("results") / CURRENT,),
    show_default=f"results/{CURRENT}",
    help="A directory of run records; every *.json below it is read. May be given more than once.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("site/public"),
    show_default=True,
    help="Where the page is written. Made if it is not there; must not lie inside --results.",
)
@click.option(
    "--also",
    "others",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Another release, rendered below releases/; every page links to it. May be given more than once.",
)
@click.option(
    "--docs",
    default="../../docs",
    show_default=True,
    help="Address of the documentation that the pages link to, without a slash at the end.",
)
@click.option(
    "--no-cache", is_flag=True, help="Work out every row anew. By default those are kept whose records did not change."
)
@click.option("--serve", is_flag=True, help="Show it on this machine, and make it anew when records change.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="For --serve; 0: any.")
def site(
    directories: tuple[Path, ...],
    out: Path,
    others: tuple[Path, ...],
    docs: str,
    no_cache: bool,
    serve: bool,
    port: int,
) -> None:
    """Render the leaderboard from run records.

    Writes index.html and a page for every task, row, model and defense, which need no network and no JavaScript;
    leaderboard.csv and leaderboard.json and files of each table (the numbers on them); and records/ (a copy of every
    record, which the rows link to). The same records give the same bytes, so anyone can regenerate a published site
    and compare. What an earlier call wrote there and this one does not is removed.

    A record that cannot be read does not stop the page: it is listed there with its error, a warning is
    printed here, and the exit code stays 0.

    \b
    Examples:
      recgauntlet site
      recgauntlet site --results results/mine --out my-page
      recgauntlet site --results results/2026.4 --results results/mine --out both
      recgauntlet site --results results/2027.1 --also results/2026.1
      recgauntlet site --results results/mine --out my-page --serve
    """
    from recgauntlet.leaderboard.crew import Crew
    from recgauntlet.leaderboard.garbage import leave_to_the_system

    for directory in (*directories, *others):
        if out.resolve().is_relative_to(directory.resolve()):
            raise OutputError(
                f"lies inside the results directory {directory}",
                where=out,
                field="--out",
                remedy="choose a directory elsewhere: copies of records must not be read as results again",
            )

    boards = (*directories, *others)

    def once() -> Built:
        with Crew() as crew:
            if _many(boards):
                crew.begin("recgauntlet.leaderboard.workshop")  # while this process imports the same
            from recgauntlet.core.files import cache_root, tables
            from recgauntlet.leaderboard.kept import Kept
            from recgauntlet_site.build import build

            kept = None if no_cache else Kept(tables(cache_root()), boards)
            built = build(directories, others, out, docs=docs.rstrip("/"), kept=kept, crew=crew)
        for warning in built.warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo(f"{built.records} records, {out / 'index.html'}")
        return built

    built = once()
    if not serve:
        leave_to_the_system(built)
        return
    from recgauntlet_site.serve import serving, watch

    del built
    with serving(out, port) as address, suppress(KeyboardInterrupt):
        click.echo(f"{address} (Ctrl-C ends it)")
        watch(boards, once)


def _many(directories: Sequence[Path]) -> bool:
    """Whether there are `_MANY` files of records."""
    files = (name for directory in directories for _, _, names in os.walk(directory) for name in names)
    records = (name for name in files if name.endswith(_ENDINGS))
    return next(islice(records, _MANY - 1, None), None) is not None
