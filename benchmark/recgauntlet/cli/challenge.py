"""`recgauntlet challenge`: run an attack on the examples that survived the suite, or check its evidence."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from recgauntlet.attacks.base import find_attack
from recgauntlet.cli.options import (
    PATH,
    DataOptions,
    TierName,
    check_owners,
    data_options,
    device_option,
    named,
    options_of,
    threads_option,
)
from recgauntlet.cli.progress import with_bar
from recgauntlet.cli.results_place import results_of, weights_of
from recgauntlet.core.card import TIERS, Tier
from recgauntlet.core.errors import OutputError, RecordError
from recgauntlet.core.names import shown
from recgauntlet.core.spec import Options, file_safe
from recgauntlet.records.best_known import BestKnown, broken_up_to, read_best_known, write_best_known
from recgauntlet.records.io import read_record
from recgauntlet.records.manifest import check_not_frozen
from recgauntlet.runner.challenge import challenge as run_challenge
from recgauntlet.runner.recheck import Checked, recheck
from recgauntlet.runner.trained import Setup

FOLDER = "best_known"


@click.command(short_help="Run your own attack on a record, or check such evidence.")
@click.argument("record", type=PATH, required=False)
@click.option(
    "--attack", "name", help="A registered attack (recgauntlet list attacks). It runs only because you name it."
)
@click.option("--attack-option", "options", multiple=True, callback=named, help="An option of the attack: NAME=VALUE.")
@click.option("--threat", "threats", multiple=True, help="A threat of the record. [all that the attack fits]")
@click.option("--tier", "tiers", type=TierName(), multiple=True, help="A tier of the budget. [all three]")
@click.option("--all", "everything", is_flag=True, help="Attack all right examples, not only the suite's survivors.")
@click.option("--checkpoint", type=PATH, help="The trained weights. [where run left them]")
@click.option("--out", type=PATH, help="The file to write. [below best_known/ of the results]")
@click.option("--overwrite", is_flag=True, help="Replace a file that is there.")
@click.option("--check", type=PATH, help="Check the evidence in this file instead of attacking.")
@click.option("--task", help="The path of your own card, where the task is your own.")
@device_option
@threads_option
@data_options
def challenge(
    record: Path | None,
    name: str | None,
    options: dict[str, Options],
    threats: tuple[str, ...],
    tiers: tuple[Tier, ...],
    everything: bool,
    checkpoint: Path | None,
    out: Path | None,
    overwrite: bool,
    check: Path | None,
    task: str | None,
    device: str,
    threads: int,
    data: DataOptions,
) -> None:
    """Run an attack of your own on the model of RECORD (a JSON file of recgauntlet run) and keep what it breaks.

    An attack is registered by an entry point (recgauntlet.attacks; docs/extend/attack.md). It gets the examples that
    the fixed suite left standing, tier by tier. The evaluator scores what it returns and the verifier checks the
    budget. The result stands beside the records as "best known": the record and its rank are never changed. --check
    verifies the evidence of such a file again, input by input.

    \b
    Examples:
      recgauntlet challenge results/mine/video-watch/standard/nrms-pgd-0.json --attack patient-ascent
      recgauntlet challenge --check results/mine/best_known/patient-ascent/video-watch/standard/nrms-pgd-0.json
    """
    if (record is None) == (check is None) or (record is not None) != (name is not None):
        raise click.UsageError("give RECORD and --attack NAME, or --check FILE")
    console = Console(highlight=False)
    setup = Setup(data.sources(), task, device, threads)
    if check is not None:
        found = read_best_known(check)
        weights = weights_of(check, checkpoint, below=FOLDER)
        checked = with_bar(console, lambda report: recheck(found, weights, setup, progress=report))
        _print_checked(console, checked, check)
        return
    assert record is not None  # see the check of the usage above
    assert name is not None
    find_attack(name)
    check_owners(options, [name], "--attack-option")
    chosen = options_of(options, name)
    cell = read_record(record)
    folder = file_safe(name + "".join(f"+{key}={value}" for key, value in chosen))
    path = out or results_of(record).joinpath(FOLDER, folder, cell.task.id, cell.task.track, record.name)
    check_not_frozen(path, "--out")
    if path.exists() and not overwrite:
        raise OutputError(
            "is there already", where=path, field="--out", remedy="give --overwrite, or another file with --out"
        )
    weights = weights_of(record, checkpoint)
    found = with_bar(
        console,
        lambda report: run_challenge(
            cell,
            weights,
            name,
            setup,
            options=chosen,
            threats=threats,
            tiers=tiers or TIERS,
            examples="right" if everything else "standing",
            progress=report,
        ),
    )
    write_best_known(found, path)
    _print_found(console, found)
    console.print(f"evidence of {len(found.evidence)} inputs written to {path}", soft_wrap=True, markup=False)


def _print_found(console: Console, found: BestKnown) -> None:
    cell = found.challenged
    head = f"{cell.task.id} ({cell.task.track}) / {cell.model.name} / {shown('defense', cell.defense.name)} "
    head += f"/ seed {cell.seed}"
    console.print(head, markup=False, style="bold", soft_wrap=True)
    console.print(f"attack  {found.attack.name} ({found.attack.distribution} {found.attack.version})", markup=False)
    headings = ("threat", "tier", "robust: suite", "best known", "broke", "refused")
    table = Table(*headings, box=None, pad_edge=False)
    for outcome in found.outcomes:
        robust, broken = outcome.robust.to_bool(), broken_up_to(found, outcome.threat, outcome.tier, TIERS)
        assert broken is not None  # this very outcome is among those it looks at
        attacked = int(outcome.attacked.to_bool().sum())
        table.add_row(
            outcome.threat,
            shown("tier", outcome.tier),
            f"{np.mean(robust):.1%}",
            f"{np.mean(robust & ~broken):.1%}",
            f"{int(outcome.broken.to_bool().sum())} of {attacked}",
            str(outcome.violations),
        )
    console.print(table)
    for outcome in found.outcomes:
        if outcome.error:
            console.print(
                f"  FAILED {outcome.threat}, {shown('tier', outcome.tier)}: {outcome.error}",
                markup=False,
                soft_wrap=True,
            )


def _print_checked(console: Console, checked: Checked, path: Path) -> None:
    for wrong in checked.mismatches:
        line = f"  {wrong.threat}, {shown('tier', wrong.tier)}, example {wrong.example}: {wrong.reason}"
        console.print(line, markup=False, soft_wrap=True)
    if checked.mismatches:
        raise RecordError(
            f"{len(checked.mismatches)} of {checked.entries} perturbed inputs do not check out (see the lines above)",
            where=path,
            field="evidence",
            remedy="do not count this file; make it again with recgauntlet challenge",
        )
    console.print(f"{checked.entries} perturbed inputs: all inside the budget, all fool the model, all scores agree")
