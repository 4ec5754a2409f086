"""`recgauntlet attack`: the gauntlet for weights that are trained already."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from recgauntlet.cli.options import PATH, DataOptions, data_options, device_option, threads_option
from recgauntlet.cli.progress import with_bar
from recgauntlet.cli.show import print_card
from recgauntlet.records.io import write_record
from recgauntlet.runner.trained import Setup, attack_checkpoint
from recgauntlet.runner.weights import checkpoint_at


@click.command(short_help="Attack a trained checkpoint and print the summary.")
@click.argument("checkpoint", type=PATH)
@click.option("--task", help="The task, or the path of your own card. [what the checkpoint was trained for]")
@click.option("--twin", type=PATH, help="Undefended weights to find transferred attacks on.")
@click.option("--record", type=PATH, help="Write the card as a record (JSON) too.")
@device_option
@threads_option
@data_options
def attack(
    checkpoint: Path,
    task: str | None,
    twin: Path | None,
    record: Path | None,
    device: str,
    threads: int,
    data: DataOptions,
) -> None:
    """Attack the weights in CHECKPOINT inside the task's budgets and print what is left: the card of the model.

    CHECKPOINT is a .safetensors file that `recgauntlet run` wrote (below checkpoints/ of its --out), or the address of
    a cell, RELEASE/TASK/MODEL/DEFENSE/SEED, whose weights are there or published (recgauntlet weights). The header of
    the file says which task, model and options it belongs to. The card is the same as that of the cell.

    Weights that `recgauntlet retrain` wrote have no record yet: export and serve find the one that --record writes
    below their --results, at TASK/TRACK/MODEL-DEFENSE-SEED.json.

    \b
    Examples:
      recgauntlet attack demo/checkpoints/video-watch/demo/nrms-pgd-0.safetensors
      recgauntlet attack 2027.1/video-watch/nrms/pgd/0
    """
    console = Console(highlight=False)
    setup = Setup(data.sources(), task, device, threads)
    checkpoint = checkpoint_at(checkpoint, offline=data.offline)
    twin = None if twin is None else checkpoint_at(twin, offline=data.offline)
    card = with_bar(console, lambda report: attack_checkpoint(checkpoint, setup, twin, progress=report))
    print_card(console, card)
    if record is not None:
        write_record(card, record)
        console.print(f"record written to {record}", soft_wrap=True)
