"""`recgauntlet retrain`: periodic retraining on new data, which says what got worse."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from recgauntlet.cli.options import PATH, DataOptions, data_options, device_option, threads_option
from recgauntlet.cli.progress import with_bar
from recgauntlet.core.errors import OutputError
from recgauntlet.core.escape import terminal
from recgauntlet.core.files import write_atomically
from recgauntlet.runner.retraining import CLEAN, Retraining
from recgauntlet.runner.retraining import retrain as retrain_weights
from recgauntlet.runner.trained import Setup
from recgauntlet.runner.weights import checkpoint_at


@click.command(short_help="Train a checkpoint further on newer data, and say what got worse.")
@click.argument("checkpoint", type=PATH)
@click.option("--until", required=True, help="A date (UTC): what was clicked before it and since the last training.")
@click.option("--to", type=PATH, help="Where the new weights go. [beside CHECKPOINT, the date in the name]")
@click.option("--replace", is_flag=True, help="Write them over CHECKPOINT instead.")
@click.option(
    "--most-lost",
    type=click.FloatRange(0, 100),
    default=2.0,
    help="Points of robust accuracy that may be lost under a ranked threat; beyond, the old weights stay.",
)
@click.option("--epochs", type=click.IntRange(1), help="At most. [the recipe's]")
@click.option("--test-pairs", type=click.IntRange(50), default=250, help="Pairs of the time after it to attack.")
@click.option("--out", type=PATH, help="Write the comparison as JSON too.")
@click.option("--task", help="The path of your own card, where the task is your own.")
@device_option
@threads_option
@data_options
def retrain(
    checkpoint: Path,
    until: str,
    to: Path | None,
    replace: bool,
    most_lost: float,
    epochs: int | None,
    test_pairs: int,
    out: Path | None,
    task: str | None,
    device: str,
    threads: int,
    data: DataOptions,
) -> None:
    """Train the weights in CHECKPOINT further on the clicks since their training ended and before the date --until,
    under their defense; then attack old and new weights on the time after it, on which neither was trained, and print
    what changed, pair by pair. All of it must lie in the data that the weights were first trained on.

    The new weights are written unless more than --most-lost points of robust accuracy are lost under a ranked threat,
    or a check fails that did not before; then the exit code is 1 and nothing is replaced. They know the time that they
    were trained until: the next retrain goes on from there, and attack uses what lies behind it.

    The newest fifth of the clicks chooses the epoch. Attacks are the suite's at the medium tier. See docs/serving.md.

    \b
    Examples:
      recgauntlet retrain results/local/checkpoints/video-watch/standard/nrms-pgd-0.safetensors --until 1998-04-01
      recgauntlet retrain model.safetensors --until 2011-11-15 --most-lost 1 --replace
    """
    if replace and to is not None:
        raise click.UsageError("give --to FILE or --replace")
    console = Console(highlight=False)
    checkpoint = checkpoint_at(checkpoint, offline=data.offline)
    place = checkpoint if replace else to or _beside(checkpoint, until)
    if place.exists() and not replace:
        raise OutputError("is there already", where=place, field="--to", remedy="name another file, or pass --replace")
    setup = Setup(data.sources(), task, device, threads)
    found = with_bar(
        console,
        lambda report: retrain_weights(checkpoint, setup, until, epochs=epochs, test_pairs=test_pairs, progress=report),
    )
    _print(console, found)
    reasons = found.worse(most_lost / 100)
    if out is not None:
        content = {
            "window": found.window.model_dump(),
            "epochs": found.epochs,
            "changes": [asdict(change) for change in found.changes],
            "refused": list(reasons),
        }
        write_atomically(out, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    if reasons:
        console.print(terminal(f"the old weights stay: {'; '.join(reasons)}"), markup=False, soft_wrap=True)
        sys.exit(1)
    found.save(place)
    console.print(terminal(f"new weights written to {place}"), markup=False, soft_wrap=True)


def _beside(checkpoint: Path, until: str) -> Path:
    """A name beside the old weights, with the date as far as it is one."""
    try:
        date = datetime.fromisoformat(until).date().isoformat()
    except ValueError:
        date = "new"  # what is no date is refused when the data are read
    return checkpoint.with_name(f"{checkpoint.stem}-until-{date}.safetensors")


def _print(console: Console, found: Retraining) -> None:
    window = found.window
    lines = (
        f"trained   on {window.train_pairs} pairs from {window.begin} to {window.valid_from}, {found.epochs} epochs",
        f"tested    on the time from {window.until} to {window.end}",
    )
    for line in lines:
        console.print(terminal(line), markup=False, soft_wrap=True)
    table = Table("right, %", "old weights", "new weights", "difference", "p", box=None, pad_edge=False)
    for change in found.changes:
        name = "clean" if change.threat == CLEAN else change.threat + ("" if change.ranked else " (not ranked)")
        difference = change.difference
        table.add_row(
            name,
            f"{100 * change.before:.1f}",
            f"{100 * change.after:.1f}",
            f"{100 * difference.value:+.1f} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})",
            f"{change.p:.3f}",
        )
    console.print(table)
