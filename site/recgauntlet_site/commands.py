"""The command `recgauntlet site`: records in, a leaderboard page out."""

from __future__ import annotations

from pathlib import Path

import click

from recgauntlet.errors import OutputError


@click.command("site", context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--results",
    "directories",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    default=(Path("results/preview"),),
    show_default="results/preview",
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
    "--docs",
    default="../../docs",
    show_default=True,
    help="Address of the documentation that the page links to, without a slash at the end.",
)
def site(directories: tuple[Path, ...], out: Path, docs: str) -> None:
    """Render the leaderboard from run records.

    Writes index.html (one page that needs no network and no JavaScript), leaderboard.csv and leaderboard.json
    (the numbers on it), and records/ (a copy of every record, which the rows link to). The same records give
    the same bytes, so anyone can regenerate a published page and compare.

    A record that cannot be read does not stop the page: it is listed there with its error, a warning is
    printed here, and the exit code stays 0.

    \b
    Examples:
      recgauntlet site
      recgauntlet site --results results/mine --out my-page
      recgauntlet site --results results/preview --results results/mine --out both
    """
    # torch and matplotlib take seconds to import, `recgauntlet --help` should not
    from recgauntlet.escaping import terminal
    from recgauntlet.record import write_atomically
    from recgauntlet.results import read_results
    from recgauntlet_site.render import render_site

    for directory in directories:
        if out.resolve().is_relative_to(directory.resolve()):
            raise OutputError(
                f"lies inside the results directory {directory}",
                where=out,
                field="--out",
                remedy="choose a directory elsewhere: copies of records must not be read as results again",
            )
    found = [(directory.resolve().name, directory, read_results(directory)) for directory in directories]
    files = render_site(found, docs=docs.rstrip("/"))
    for name, content in files.items():
        write_atomically(out / name, content)
    records = sum(len(results.records) for _, _, results in found)
    for _, _, results in found:
        for path, error in results.broken:
            click.echo(f"warning: {terminal(f'{path} is left out: {error.problem}')}", err=True)
    if not records:
        click.echo("warning: there are no records yet, so the page has no tables", err=True)
    click.echo(f"{records} records, {out / 'index.html'}")
