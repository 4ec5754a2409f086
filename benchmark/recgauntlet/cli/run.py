"""`recgauntlet run`: plan, run and record cells."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import click
from rich.console import Console

from recgauntlet.cli.completion import DEFENSES, MODELS, TASKS
from recgauntlet.cli.options import (
    PATH,
    DataOptions,
    check_owners,
    check_tuned,
    data_options,
    defense_names,
    device_option,
    less_attacked,
    named,
    options_of,
    poison_attacks,
    sandbox_option,
    seeds,
    shard,
    track_option,
    words,
)
from recgauntlet.cli.results import print_results
from recgauntlet.cli.sweeping import Limits, carry_out, print_plan, print_time, workers_for
from recgauntlet.cli.track import live_tracking, track_to_option
from recgauntlet.core.card import Track
from recgauntlet.core.errors import DeviceError, RecordError
from recgauntlet.core.plugins import names
from recgauntlet.core.spec import TWIN, CellSpec, Options
from recgauntlet.leaderboard.address import locate
from recgauntlet.records.io import read_record
from recgauntlet.records.manifest import check_not_frozen
from recgauntlet.records.release import ROOT
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.plan import Planned, estimates, plan
from recgauntlet.runner.sandbox.bubblewrap import Sandbox
from recgauntlet.runner.shard import Shard
from recgauntlet.runner.weights import bring, trained_cells, weights_for
from recgauntlet.tracking.trackers import DIRECTORY

MOST_DEVICES = 16
"""A cell may have no more processes."""
MOST_SHOWN = 500
"""Cells whose table a run prints at its end."""


@click.command(short_help="Train, attack and record: the benchmark itself.")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    callback=words,
    type=TASKS,
    help="Tasks, or paths of your own cards (.toml). [all]",
)
@click.option("--model", "models", multiple=True, callback=words, type=MODELS, help="Recommenders. [nrms]")
@click.option(
    "--defense",
    "defenses",
    multiple=True,
    callback=defense_names,
    type=DEFENSES,
    help="Defenses. [none, pgd]",
)
@click.option("--seeds", "seed_list", default="0", callback=seeds, help="Seeds, like 0,1,2. Ranks need three.")
@track_option
@device_option
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    help="Of training and of the attacks' searches; what counts is scored in fp32. auto: bf16 on a GPU for models that "
    "train well in it. On CPUs with AVX-512 BF16 or AMX, bf16 halves the time of bert and gpt.",
)
@click.option("--out", type=PATH, help="Where records go. [results/local, or demo]")
@click.option("--workers", type=click.IntRange(1), help="Cells at a time. [one a core; one on a GPU]")
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads a cell; part of the record.")
@click.option(
    "--devices",
    type=click.IntRange(1, MOST_DEVICES),
    default=1,
    help="Train each cell on so many GPUs of this machine, or in so many processes on CPUs. For models that allow it.",
)
@click.option("--model-option", "model_options", multiple=True, callback=named, help="NAME=VALUE or MODEL.NAME=VALUE.")
@click.option(
    "--defense-option", "defense_options", multiple=True, callback=named, help="NAME=VALUE or DEFENSE.NAME=VALUE."
)
@click.option("--untuned", is_flag=True, help="Take the constructors' defaults where packages ship tuned values.")
@click.option(
    "--tuned", type=PATH, metavar="FILE", help="Take tuned values from this file first (recgauntlet tune --to FILE)."
)
@data_options
@click.option("--overwrite", is_flag=True, help="Replace records of the named cells.")
@click.option(
    "--reuse-weights",
    is_flag=False,
    flag_value="",
    show_default=False,
    metavar="[FROM]",
    help="Attack the weights that an earlier run left in --out instead of training again, or those of FROM (a release "
    "with published weights, or a results directory); the record says which code trained them.",
)
@click.option(
    "--test-pairs",
    type=click.IntRange(1),
    metavar="N",
    help="Attack the first N test pairs, and impressions in proportion. Such rows are not ranked. [all]",
)
@less_attacked
@click.option(
    "--naturalness",
    is_flag=True,
    help="Measure how natural edited texts are: perplexities by SmolLM2 (fetched once, 93 MB) and cosines of sentence "
    "vectors. Takes minutes a cell.",
)
@click.option(
    "--poison-attacks",
    callback=poison_attacks,
    metavar="none|all|NAMES",
    help="Attacks on the training data, for a look that takes no rank. [those of the card's active threats]",
)
@click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), metavar="MINUTES", help="Of one cell. [720]")
@click.option(
    "--memory-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="GIB",
    help="Of one cell. [its share of nine tenths of what the job has]",
)
@click.option(
    "--shard",
    callback=shard,
    metavar="I/N",
    help="Run share I of N of the cells, from 1: one job of an array. All shards may write into one --out.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="What runs the cells: processes of this machine, or tasks of a Ray cluster (docs/clusters.md).",
)
@click.option(
    "--address", default="", metavar="HOST:PORT", help="Of the Ray cluster. [one that is started on this machine]"
)
@sandbox_option
@click.option(
    "--unguarded",
    is_flag=True,
    help="Let cells write anywhere, start processes and open connections. For plugins that you trust and that must.",
)
@track_to_option(
    "--track-to", "Log each cell when it ends to a tracker, and the figures at the end. See recgauntlet track."
)
@click.option("--track-out", type=PATH, default=DIRECTORY, help="Where --track-to keeps its files.")
@click.option(
    "--dry-run", is_flag=True, help="Show the plan with an estimate of its time from existing records, and stop."
)
def run(
    tasks: tuple[str, ...],
    models: tuple[str, ...],
    defenses: tuple[str, ...],
    seed_list: tuple[int, ...],
    track: Track,
    device: str,
    precision: str,
    out: Path | None,
    workers: int | None,
    threads: int,
    devices: int,
    model_options: dict[str, Options],
    defense_options: dict[str, Options],
    untuned: bool,
    tuned: Path | None,
    data: DataOptions,
    overwrite: bool,
    reuse_weights: str | None,
    test_pairs: int | None,
    no_high_tier: bool,
    no_curves: bool,
    leave_out: tuple[str, ...],
    naturalness: bool,
    poison_attacks: tuple[str, ...] | None,
    time_limit: float | None,
    memory_limit: float | None,
    shard: Shard | None,
    engine: str,
    address: str,
    sandbox: Sandbox,
    unguarded: bool,
    track_to: tuple[str, ...],
    track_out: Path,
    dry_run: bool,
) -> int:
    """Train every model under every defense on every task, attack it inside the budgets, and write one record a cell.

    The undefended twin of each defended cell is run too, because attacks found on it are replayed and costs are
    compared with it. Finished cells are skipped; a failed cell is recorded with its error and the sweep goes on.
    Each cell works in processes of its own, which write nowhere else and never see test data while they train.
    Stop it at any time: the same command goes on where it stopped. At the end stands a table of clean and robust
    accuracy and of cost beside the twins.

    What is reused: finished cells in --out, twins among them, with their records and weights. A release holds no
    weights, so its twins are trained again in --out, unless --reuse-weights names one whose weights are published.
    --overwrite replaces the cells that are named; a twin that nobody
    named is kept, unless its record is of another version or damaged.

    With --test-pairs N the first N test pairs are attacked, at least 100 test impressions, and the first lists with
    simulated ads in proportion. A finished cell with more test pairs counts as done, a twin too: rows are compared on
    the pairs that they share.

    With --no-high-tier the low and the medium tier find the same as without it. Security curves still reach beyond the
    high tier, on their examples alone, but with --no-curves there are none. The tier stands on the board as not run; so
    does a threat with --leave-out.

    With --shard I/N the cells are shared out to N jobs that may run at once, on one machine or many, into one --out
    on a file system that they share. Cells of one undefended twin stay together, so no twin is trained twice. A job
    that was stopped is started again with the same I/N; at the end, the command without --shard shows the table.

    With --engine ray the cells are tasks of a Ray cluster, and records and weights come back into --out. A cell whose
    node is lost starts again on another. Every node needs this package and the data, in its own cache or a shared one.

    \b
    Examples:
      recgauntlet run --track demo
      recgauntlet run --task video-watch --defense none,fgm,pgd --seeds 0,1,2 --out results/mine
      recgauntlet run --task video-watch --model bert --model-option layers=2 --threads 2 --workers 1
      recgauntlet run --defense pgd --defense-option epsilon=0.5 --dry-run
      recgauntlet run --task video-watch --model gpt --test-pairs 250 --out results/mine
      recgauntlet run --task ecommerce-purchase --model item-knn --poison-attacks coattails,placement
      recgauntlet run --task video-watch --defense none,pgd --reuse-weights 2027.1 --out results/again
      recgauntlet run --model nrms,sasrec,bpr-mf --seeds 0,1,2 --out results/mine --shard "$SLURM_ARRAY_TASK_ID/8"
      recgauntlet run --model nrms,sasrec --seeds 0,1,2 --out results/mine --engine ray --address 10.0.0.1:6379
      recgauntlet run --track demo --task video-watch --track-to tensorboard --track-to mlflow
    """
    console = Console(highlight=False)
    out = out or Path("demo" if track == "demo" else "results/local")
    check_not_frozen(out, "--out")
    if address and engine != "ray":
        raise DeviceError("no cluster is used", field="--address", remedy="add --engine ray, or leave it out")
    tasks, models = tasks or tuple(names("tasks")), models or ("nrms",)
    defenses = defenses or (TWIN, "pgd")
    check_owners(model_options, models, "--model-option")
    check_owners(defense_options, defenses, "--defense-option")
    if tuned is not None:
        check_tuned(tuned, untuned, models, defenses)
    sources = data.sources(tasks)
    specs = [
        CellSpec(
            task=task,
            track=track,
            model=model,
            defense=defense,
            seed=seed,
            out=out,
            source=sources(task),
            device=device,
            precision=precision,
            threads=threads,
            devices=devices,
            model_options=options_of(model_options, model),
            defense_options=options_of(defense_options, defense),
            untuned=untuned,
            tuned=tuned,
            reuse_weights=reuse_weights is not None,
            test_pairs=test_pairs,
            high_tier=not no_high_tier,
            curves=not no_curves,
            left_out=leave_out,
            naturalness=naturalness,
            poison_attacks=poison_attacks,
        )
        for seed, task, model, defense in product(seed_list, tasks, models, defenses)
    ]
    if shard is not None:
        specs = list(shard.of(specs))
        if not specs:
            console.print(f"shard {shard.number}/{shard.count} has no cells: fewer undefended twins than shards")
            return 0
    planned = plan(specs, overwrite=overwrite)
    times = estimates(planned, (out, ROOT)) if dry_run else None
    print_plan(console, planned, out, times)
    if times is not None:
        print_time(console, times, workers or workers_for(planned[0].spec))
    if reuse_weights:
        _bring_weights(console, planned, reuse_weights, offline=data.offline, dry_run=dry_run)
    if dry_run:
        return 0
    limits = Limits(workers, time_limit, memory_limit, guarded=not unguarded, sandbox=sandbox)
    chosen = limits.ray(address) if engine == "ray" else limits.local(planned[0].spec)
    part = "" if shard is None else str(shard)
    with live_tracking(console, track_to, track_out, out) as tracking:
        records = carry_out(console, planned, out, chosen, shard=part, on_record=tracking.send)
        damaged: RecordError | None = None
        if shard is None and len(planned) <= MOST_SHOWN:
            every, damaged = _records_of(planned)
            print_results(console, every)
            tracking.send_figures(every)
        elif shard is None:
            console.print(f"more than {MOST_SHOWN} cells, so no table here: recgauntlet table {out}", soft_wrap=True)
    failed = [record for record in records if record.status == "failed"]
    if records:
        done = len(records) - len(failed)
        console.print(f"{done} cells done, {len(failed)} failed; records in {out}", soft_wrap=True)
        console.print(f"next: recgauntlet site --results {out} --out {out}-site", soft_wrap=True)
    if damaged is not None:
        raise damaged
    bad_input = any(record.failure and record.failure.kind in _INPUT for record in failed)
    return 2 if bad_input else 1 if failed else 0


def _records_of(planned: Sequence[Planned]) -> tuple[list[RunRecord], RecordError | None]:
    """The records of a plan, and what is wrong with the first that is damaged: plans do not read all of a record."""
    records, damaged = [], None
    for cell in planned:
        try:
            records.append(read_record(cell.spec.record_path))
        except RecordError as error:
            damaged = damaged or error
    return records, damaged


def _bring_weights(console: Console, planned: Sequence[Planned], source: str, *, offline: bool, dry_run: bool) -> None:
    """Put the weights of `source` where the cells look for theirs, and print where each cell's come from."""
    cells = trained_cells(locate(source).rows)
    for cell in planned:
        spec = cell.spec
        if cell.state == "done":
            continue
        found = weights_for(spec, cell.options, cells)
        if spec.checkpoint_path.exists():
            origin = "those in --out"
        elif found is None:
            origin = f"none in {source} with these options: the cell is trained"
        else:
            origin = found.address
            if not dry_run:
                bring(found, spec, offline=offline)
        console.print(f"weights {spec.title}: {origin}", markup=False, soft_wrap=True)


_INPUT = {"CardError", "DataError", "RecordError", "PluginError", "DeviceError", "OutputError"}
