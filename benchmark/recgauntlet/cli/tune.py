"""`recgauntlet tune`: choose hyper-parameters on validation data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from recgauntlet.cli.completion import DEFENSES, MODELS, TASKS
from recgauntlet.cli.options import (
    PATH,
    DataOptions,
    data_options,
    defense_names,
    device_option,
    sandbox_option,
    track_option,
    words,
)
from recgauntlet.cli.progress import SweepProgress
from recgauntlet.cli.sweeping import make_ready, reserved, workers_for
from recgauntlet.core.card import Track
from recgauntlet.core.escape import visible
from recgauntlet.core.plugins import Plugin
from recgauntlet.core.recommender import constructor_defaults, find_model
from recgauntlet.core.search_space import Between, OneOf
from recgauntlet.core.spec import TWIN, CellSpec
from recgauntlet.data import cache as store
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.prepare import ready
from recgauntlet.runner.sandbox.bubblewrap import Sandbox
from recgauntlet.runner.sandbox.limits import Allowance
from recgauntlet.runner.tuning.poison import tuning_poison
from recgauntlet.runner.tuning.sampling import drawn, space_of
from recgauntlet.runner.tuning.study import Study, chosen, run_studies
from recgauntlet.training.build import open_cell
from recgauntlet.training.defense import find_defense
from recgauntlet.training.device import choose_device
from recgauntlet.training.tuned import Method, read_tuned, write_tuned

TRIALS = 8
EPOCHS = 2


@click.command(short_help="Choose hyper-parameters on validation data, the same few trials a method.")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    callback=words,
    type=TASKS,
    help="Tasks, or paths of your own cards. [video-watch]",
)
@click.option("--model", "models", multiple=True, callback=words, type=MODELS, help="Recommenders. [nrms]")
@click.option(
    "--defense",
    "defenses",
    multiple=True,
    callback=defense_names,
    type=DEFENSES,
    help="Defenses to tune; without any, the models are tuned.",
)
@click.option("--trials", type=click.IntRange(1), default=TRIALS, help="Trials a method; the first: defaults.")
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=EPOCHS,
    help="Epochs of a trial's training, at most; the learning rate's schedule is shortened alike.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the trials and their training.")
@track_option
@device_option
@click.option("--workers", type=click.IntRange(1), help="Trials at a time. [one a core; one on a GPU]")
@click.option("--threads", type=click.IntRange(1), default=1, help="CPU threads a trial.")
@click.option(
    "--out",
    type=PATH,
    default=Path("tuning"),
    help="Where finished trials are kept: the same command goes on from there.",
)
@click.option("--to", type=PATH, help="The file of chosen values. [tuned.toml below --out]")
@data_options
@sandbox_option
@click.option("--unguarded", is_flag=True, help="Let trials write anywhere. For plugins that you trust and that must.")
@click.option("--dry-run", is_flag=True, help="Show the trials and stop.")
def tune(
    tasks: tuple[str, ...],
    models: tuple[str, ...],
    defenses: tuple[str, ...],
    trials: int,
    epochs: int,
    seed: int,
    track: Track,
    device: str,
    workers: int | None,
    threads: int,
    out: Path,
    to: Path | None,
    data: DataOptions,
    sandbox: Sandbox,
    unguarded: bool,
    dry_run: bool,
) -> int:
    """Choose the hyper-parameters of defenses or models: every method gets the same number of trials, in the search
    space that its class names, judged by the same objective on validation data. The test period is never read.

    The first trial is the method as it comes; the best one wins and is written to a file that recgauntlet run --tuned
    takes, or a package ships (docs/reference/tuning.md). A failed trial is recorded and the study continues. Stop it at
    any time: the same command continues where it stopped.

    \b
    Examples:
      recgauntlet tune --defense pgd,fgm --dry-run
      recgauntlet tune --task video-watch --model nrms --defense pgd,fgm --workers 2
      recgauntlet tune --model nrms --to src/my_package/tuned.toml
    """
    console = Console(highlight=False)
    tasks, models = tasks or ("video-watch",), models or ("nrms",)
    method: Method = "defense" if defenses else "model"
    sources = data.sources(tasks)
    specs = [
        CellSpec(task, track, model, defense, seed, out, sources(task), device=device, threads=threads)
        for task, model, defense in product(tasks, models, defenses or (TWIN,))
    ]
    choose_device(device)
    for spec in specs:
        space_of(_named(method, spec))
        find_task_or_card(spec.task).card.track(spec.track)
    target = to or out / "tuned.toml"
    if target.exists():
        read_tuned(target)  # its other entries are kept: better refused now than after hours of trials
    with nullcontext() if dry_run else reserved(out):
        make_ready(console, specs)
        studies = [_study(method, spec, trials, epochs) for spec in specs]
        _print_plan(console, studies)
        if dry_run:
            return 0
        if todo := sum(study.results().count(None) for study in studies):
            at_a_time = workers or workers_for(specs[0])
            with SweepProgress(console, todo, "trials") as bars:
                allowance = Allowance.of_machine(at_a_time)
                run_studies(
                    studies,
                    bars,
                    workers=at_a_time,
                    allowance=allowance,
                    guarded=not unguarded,
                    sandbox=sandbox,
                )
        _print_results(console, studies)
        entries = [entry for study in studies if (entry := chosen(study, study.results())) is not None]
        if entries:
            write_tuned(target, entries)
            console.print(f"chosen values in {target}", soft_wrap=True)
            console.print(
                f"next: recgauntlet run --tuned {target} with the same --task, --model and --defense", soft_wrap=True
            )
    return 0 if len(entries) == len(studies) else 1


def _named(method: Method, spec: CellSpec) -> Plugin:
    """The method that a cell is there to tune."""
    return find_model(spec.model) if method == "model" else find_defense(spec.defense)


def _study(method: Method, spec: CellSpec, trials: int, epochs: int) -> Study:
    """The trials of a method in the cell `spec`. A defense is tuned with the model as `recgauntlet run` would take it,
    a model as it comes."""
    plugin = _named(method, spec)
    cell = open_cell(replace(spec, untuned=method == "model"))
    model_options, defense_options = cell.model_options, constructor_defaults(cell.defense.value)
    defaults = model_options if method == "model" else defense_options
    prepared = ready(cell.task, spec.track, spec.source)
    reads_text = "candidate-text" in cell.model.value.surfaces  # such models are not trained on poisoned data
    return Study(
        spec=replace(
            spec,
            model_options=tuple(sorted(model_options.items())),
            defense_options=tuple(sorted(defense_options.items())),
        ),
        method=method,
        name=plugin.name,
        trials=drawn(space_of(plugin), defaults, trials, spec.seed),
        epochs=epochs,
        prepared=prepared,
        belonging={"task": cell.task.card.fingerprint(spec.track), "data": store.load_training(prepared).fingerprint},
        poison=() if reads_text else tuning_poison(cell.task, spec.track, spec.source, prepared),
    )


def _print_plan(console: Console, studies: Sequence[Study]) -> None:
    headings = ("task", "track", "model", "tuned", "trials", "to do", "search space")
    table = Table(*headings, title="Trials", title_justify="left", box=None, pad_edge=False)
    for study in studies:
        spec = study.spec
        space = ", ".join(f"{name} {_range(part)}" for name, part in space_of(_named(study.method, spec)).items())
        numbers = str(len(study.trials)), str(study.results().count(None))
        table.add_row(spec.task_id, spec.track, spec.model, f"{study.method} {study.name}", *numbers, escape(space))
    console.print(table)


def _range(part: Between | OneOf) -> str:
    if isinstance(part, OneOf):
        return "in {" + ", ".join(map(str, part.values)) + "}"
    return f"{part.low:g}..{part.high:g}{' (logarithmic)' if part.log else ''}"


def _print_results(console: Console, studies: Sequence[Study]) -> None:
    """Every trial with what its objective is made of; the chosen one is marked."""
    for study in studies:
        results = study.results()
        best = chosen(study, results)
        spec = study.spec
        headings = ("trial", "values", "objective", "clean", "robust", "AUC", "note")
        table = Table(
            *(Column(heading, overflow="fold") for heading in headings),
            title=f"{study.method} {study.name} on {spec.task_id} ({spec.track}) with {spec.model}",
            title_justify="left",
            box=None,
            pad_edge=False,
        )
        for result in filter(None, results):
            robust = ", ".join(f"{name} {share:.1%}" for name, share in result.robust.items())
            notes = [
                "chosen" if best is not None and result.number == best.trial else "",
                "the defaults" if result.number == 0 else "",
                "near a constant" if result.objective == 0 else "",
                visible(result.reason.strip().splitlines()[-1]) if result.reason.strip() else "",
            ]
            table.add_row(
                str(result.number),
                escape(", ".join(f"{name}={value}" for name, value in result.values.items())),
                _number(result.objective, ".4f"),
                _number(result.clean, ".1%"),
                robust,
                _number(result.valid_auc, ".3f"),
                escape("; ".join(note for note in notes if note)),
            )
        console.print(table)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
