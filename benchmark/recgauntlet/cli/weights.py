"""`recgauntlet weights`: publish the trained weights of cells on a hub, fetch them, check them."""

from __future__ import annotations

from pathlib import Path

import click

from recgauntlet.cli.options import PATH
from recgauntlet.core.errors import RecordError
from recgauntlet.core.escape import terminal
from recgauntlet.core.files import write_atomically
from recgauntlet.leaderboard.address import locate
from recgauntlet.runner.hub import upload
from recgauntlet.runner.weights import CHECKPOINTS, check_weights, local_cells, readme, trained_cells

_OFFLINE = click.option("--offline", is_flag=True, help="Never open a connection: what is in the cache alone.")


@click.group(short_help="Publish, fetch and check the trained weights of cells.")
def weights() -> None:
    """The trained weights behind the rows of a release.

    A release holds no weights. They are published in a repository on a Hugging Face hub, as safetensors; the manifest
    of the release names the repository, the commit and the SHA-256 of each file. huggingface_hub does the transfers:
    log in with `hf auth login` or HF_TOKEN; HF_ENDPOINT names another hub, HF_HUB_OFFLINE=1 forbids connections.

    \b
    Examples:
      recgauntlet weights push results/mine my-group/recgauntlet-weights
      recgauntlet weights pull 2027.1/video-watch
      recgauntlet weights check 2027.1
    """


@weights.command(short_help="Upload the weights of a results directory as one commit.")
@click.argument("results", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("repository")
@click.option("--private", is_flag=True, help="Make the repository private, where it is not there yet.")
def push(results: Path, repository: str, private: bool) -> None:
    """Upload the weights of the finished cells in RESULTS to REPOSITORY (OWNER/NAME), which is made where it is not there.

    Every file is checked against its record before. The commit is printed, for `recgauntlet release freeze --weights`.

    \b
    Examples:
      recgauntlet weights push results/mine my-group/recgauntlet-weights
      recgauntlet weights push results/mine my-group/recgauntlet-weights --private
    """  # noqa: E501  an example is one line
    cells = local_cells([results])
    files: dict[str, Path | bytes] = {cell.path: cell.weights() for cell in cells}
    files["README.md"] = readme(cells).encode()
    commit = upload(repository, files, private=private, message=f"Weights of {len(cells)} cells")
    click.echo(f"{len(cells)} cells pushed to {repository}@{commit}")
    click.echo(f"next: recgauntlet release freeze NAME --results {results} --weights {repository}@{commit}")


@weights.command(short_help="Fetch published weights into the cache.")
@click.argument("address")
@click.option("--to", type=PATH, metavar="DIR", help="Put them below DIR/checkpoints too, as recgauntlet run does.")
@_OFFLINE
def pull(address: str, to: Path | None, offline: bool) -> None:
    """Fetch the weights of every finished cell at ADDRESS, RELEASE[/TASK[/MODEL[/DEFENSE]]], and check each.

    \b
    Examples:
      recgauntlet weights pull 2027.1/video-watch
      recgauntlet weights pull 2027.1 --to results/again
    """
    cells = [cell for cell in trained_cells(locate(address).rows) if cell.file is not None or cell.local is not None]
    if not cells:
        raise RecordError(
            "names no cell with published weights",
            where=address,
            field="weights",
            remedy="give a release whose manifest names a repository, or a results directory with checkpoints",
        )
    for cell in cells:
        path = cell.weights(offline=offline)
        if to is not None:
            target = to / CHECKPOINTS / cell.path
            write_atomically(target, path.read_bytes())
            path = target
        click.echo(terminal(f"{cell.address}: {path}"))


@weights.command(short_help="Check weights against their records and the manifest.")
@click.argument("address")
@_OFFLINE
@click.pass_context
def check(ctx: click.Context, address: str, offline: bool) -> None:
    """Check the weights of every finished cell at ADDRESS, RELEASE[/TASK[/MODEL[/DEFENSE]]]: that they are there, their
    SHA-256, and that they and their header are those of the record. The exit code is 1 where something is wrong.

    \b
    Examples:
      recgauntlet weights check results/mine
      recgauntlet weights check 2027.1/video-watch --offline
    """
    wrong = 0
    for cell, finding in check_weights(address, offline=offline):
        wrong += finding is not None
        click.echo(terminal(f"{cell}: {'ok' if finding is None else finding}"))
    click.echo(f"{wrong or 'no'} findings")
    ctx.exit(1 if wrong else 0)
