"""The command `recgauntlet site`: render the leaderboard from records."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from recgauntlet.core.errors import OutputError
from recgauntlet.core.files import CURRENT


@click.command("site", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--results",
    "directories",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    default=(Path("results") / CURRENT,),
    show_default=f"results/{CURRENT}",
    help="A directory of run records; all records below it are read. May be given more than once.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("site/public"),
    show_default=True,
    help="The directory to write to. Created if it does not exist; must not lie inside --results.",
)
@click.option(
    "--also",
    "others",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Another release, rendered below releases/ and linked from every page. May be given more than once.",
)
@click.option(
    "--docs",
    show_default="that of this checkout",
    help="The documentation: a directory of Markdown files to render, or an https address to link to.",
)
@click.option("--no-cache", is_flag=True, hidden=True, help="Has no effect: nothing is cached.", expose_value=False)
@click.option(
    "--serve", is_flag=True, help="Serve the site on this machine (127.0.0.1), and render it again when records change."
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="The port of --serve; 0 takes any free port.",
)
def site(
    directories: tuple[Path, ...],
    out: Path,
    others: tuple[Path, ...],
    docs: str | None,
    serve: bool,
    port: int,
) -> None:
    """Render the leaderboard from run records.

    Writes static pages that need no network and no JavaScript: index.html, one page for each task, row, model and
    defense, and the documentation. Beside them it writes the numbers (leaderboard.csv, leaderboard.json and files of
    each table), every figure as SVG and PDF, and a copy of every record in records/. The same records give the same
    bytes. Files of an earlier run that are no longer part of the site are removed.

    A record that cannot be read is left out with a warning and listed on the start page; the exit code stays 0.

    \b
    Examples:
      recgauntlet site
      recgauntlet site --results results/mine --out my-page
      recgauntlet site --results results/2026.5 --results results/mine --out both
      recgauntlet site --results results/2027.1 --also results/2026.5
      recgauntlet site --results results/mine --out my-page --serve
    """
    for directory in (*directories, *others):
        if out.resolve().is_relative_to(directory.resolve()):
            raise OutputError(
                f"lies inside the results directory {directory}",
                where=out,
                field="--out",
                remedy="choose a directory outside of it: the copies of records would be read as results",
            )

    from recgauntlet_site.build import build
    from recgauntlet_site.pages.docs import NO_DOCS, SHIPPED, open_docs

    where = str(SHIPPED) if docs is None and SHIPPED.is_dir() else docs
    opened = open_docs(where.rstrip("/")) if where else NO_DOCS

    def render() -> None:
        built = build(directories, others, out, docs=opened)
        for warning in built.warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo(f"{built.records} records, {out / 'index.html'}")

    render()
    if serve:
        from recgauntlet_site.serve import serving, watch

        with serving(out, port) as address, suppress(KeyboardInterrupt):
            click.echo(f"{address} (press Ctrl-C to stop)")
            watch((*directories, *others), render)
