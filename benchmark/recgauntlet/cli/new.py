"""`recgauntlet new`: the package of a plugin, complete with a test, a README and the entry point."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from recgauntlet.cli.scaffold.names import Kind, names_of
from recgauntlet.cli.scaffold.write import write_package


@click.command(short_help="Write a package for a defense, model, task or attack of yours, tests included.")
@click.argument("kind", type=click.Choice(get_args(Kind)))
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path), help="The directory to make.  [./NAME]")
def new(kind: Kind, name: str, out: Path | None) -> None:
    """Write a new package for a plugin of the KIND defense, model, task, attack or poisoning (an attack on training
    data), registered as NAME.

    It is complete and works as it stands: one module to change, its entry point, a test that runs the conformance
    suite, and a README that says how to install, check, run and submit it. It lies outside RecGauntlet, in a directory
    of its own; one that exists is never touched. NAME is of lower-case letters, digits and single hyphens.

    \b
    Examples:
      recgauntlet new defense my-defense
      recgauntlet new task cooking --out ~/src/cooking
      recgauntlet new poisoning my-fakes
    """
    names = names_of(kind, name)
    target = Path(name) if out is None else out.expanduser()
    for file in write_package(names, target):
        click.echo(f"  {target / file}")
    click.echo(f"next: python -m pip install --editable {target}")
    click.echo(f"      recgauntlet check {name}")
    click.echo(f"then change {target / names.module}{'/' if kind == 'task' else '.py'} and check again")
