"""`recgauntlet track`: log records to an experiment tracker, and the part of `run` that does so live."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from recgauntlet.cli.progress import with_bar
from recgauntlet.core.errors import OutputError, RecGauntletError
from recgauntlet.core.escape import terminal
from recgauntlet.leaderboard.address import open_board
from recgauntlet.tracking.send import LiveTracking, log_all
from recgauntlet.tracking.trackers import DIRECTORY, TRACKERS, open_trackers

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def track_to_option(name: str, text: str, *, required: bool = False) -> Decorator:
    """The option that names trackers; more than one may be given."""
    return click.option(name, multiple=True, required=required, type=click.Choice(list(TRACKERS)), help=text)


@click.command(short_help="Log records to TensorBoard, MLflow, Weights & Biases or Trackio.")
@click.argument("results")
@track_to_option("--to", "The tracker. May be given more than once.", required=True)
@click.option("--out", type=click.Path(path_type=Path), default=DIRECTORY, help="Where the trackers keep their files.")
@click.option("--figures/--no-figures", default=True, help="Log the leaderboard's figures, one run a table.")
def track(results: str, to: tuple[str, ...], out: Path, figures: bool) -> None:
    """Log RESULTS, a directory of records or the name of a release, to an experiment tracker: one run a record.

    A run has clean and robust accuracy, attack success, cost and sanity checks, loss and validation AUC of each epoch,
    all hyper-parameters, and the record itself as a file. The numbers are those of the leaderboard for this one seed. A
    record that was logged before is skipped, so the command may be run again at any time.

    TensorBoard and Trackio write to --out. MLflow writes an SQLite database there, unless MLFLOW_TRACKING_URI is set.
    Weights & Biases runs are offline, unless WANDB_MODE is set. See docs/results/tracking.md.

    \b
    Examples:
      recgauntlet track results/mine --to tensorboard
      recgauntlet track 2026.5 --to mlflow --to wandb --out tracking/2026.5
    """
    console = Console(highlight=False)
    board = open_board(results)
    for path, error in board.results.broken:
        click.echo(terminal(f"warning: {path} is left out: {error.problem}"), err=True)
    records, tables = tuple(board.records.values()), board.tables if figures else ()
    for name, tracker in open_trackers(to, out).items():
        try:
            logged, drawn = with_bar(console, partial(log_all, tracker, records, tables))
        except RecGauntletError:
            raise
        except Exception as error:  # whatever the tracker's package raises
            remedy = "mend that and run the command again: what is logged is skipped"
            raise OutputError(f"stopped: {type(error).__name__}: {error}", where=name, remedy=remedy) from error
        counts = f"{logged} records logged, {len(records) - logged} were there"
        console.print(
            f"{name}: {counts}; figures of {drawn} {'table' if drawn == 1 else 'tables'}", markup=False, soft_wrap=True
        )
        console.print(f"look: {tracker.hint}", markup=False, soft_wrap=True)


@contextmanager
def live_tracking(console: Console, names: Sequence[str], directory: Path, out: Path) -> Iterator[LiveTracking]:
    """Tracking of a sweep into the results directory `out`. Says at the end where the runs are, and what to do where
    some could not be logged. OutputError as `open_trackers`, before anything runs."""
    trackers = open_trackers(names, directory)

    def warn(text: str) -> None:
        console.print(terminal(f"warning: {text}"), markup=False, soft_wrap=True)

    with LiveTracking(trackers, warn) as live:
        yield live
    for name, tracker in trackers.items():
        again = f"not complete; log the rest: recgauntlet track {out} --to {name} --out {directory}"
        line = f"tracking {name}: {again if name in live.incomplete else tracker.hint}"
        console.print(line, markup=False, soft_wrap=True)
