"""`recgauntlet release export`: a release in a form that other tools read."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export", short_help="Write a release as Parquet tables with a data card.")
@click.argument("name")
@click.option("--to", "form", type=click.Choice(["parquet"]), default="parquet", help="The form.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="A directory that is not there yet. [NAME-parquet in this directory]"
)
@click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("results"),
    help="The directory in which releases lie.",
)
def export(name: str, form: str, out: Path | None, root: Path) -> None:
    """Write the release NAME (or a directory of records) as a data set for the Hugging Face hub: cells.parquet, one row
    a model, defense, seed, threat and tier; examples.parquet, one row a test example; and README.md, its data card with
    every column explained.

    `datasets.load_dataset(DIRECTORY, "cells")` reads it from disk. Publish it with `hf upload`.

    \b
    Examples:
      recgauntlet release export 2026.5
      recgauntlet release export results/mine --out mine-parquet
    """
    from recgauntlet.leaderboard.release.parquet import export_release

    target = out or Path(f"{Path(name).name}-{form}")
    cells, examples = export_release(name, target, root=root)
    click.echo(f"{target}: {cells} rows of cells, {examples} rows of examples, README.md")
