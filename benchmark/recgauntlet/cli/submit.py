"""`recgauntlet submit`, `verify` and `merge`: from a local plugin to files in a release."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import get_args

import click
from pydantic import ValidationError
from rich.console import Console

from recgauntlet.cli.options import (
    PATH,
    DataOptions,
    check_owners,
    data_options,
    named,
    options_of,
    seeds,
    track_option,
    words,
)
from recgauntlet.cli.progress import with_bar
from recgauntlet.cli.rerunning import keep, run_again
from recgauntlet.cli.results import print_results
from recgauntlet.cli.sweeping import Limits, carry_out, print_plan
from recgauntlet.core.card import Track
from recgauntlet.core.errors import PluginError, RecordError
from recgauntlet.core.escape import visible
from recgauntlet.core.files import write_atomically
from recgauntlet.core.plugins import names
from recgauntlet.core.spec import TWIN, CellSpec, Options
from recgauntlet.records.io import read_record
from recgauntlet.records.manifest import SUBMISSIONS, Finding, check_not_frozen
from recgauntlet.records.submission.manifest import Sender
from recgauntlet.records.submission.reader import open_archive, open_merged
from recgauntlet.runner.plan import plan
from recgauntlet.runner.submission.checks import static_findings
from recgauntlet.runner.submission.evidence import evidence_findings
from recgauntlet.runner.submission.merge import merge as merge_archive
from recgauntlet.runner.submission.pack import GROUPS, MODELS, SEEDS, TASKS, SubmittedKind, lacking, pack, recipe_of
from recgauntlet.runner.submission.rerun import Rerun, draw, source_finding

_CHOICES = {"tasks": "--task", "seeds": "--seeds", "models": "--model"}
"""The options by which a part of a recipe is chosen."""


@click.command(short_help="Run the fixed recipe on your plugin and pack the result.")
@click.argument("name")
@click.option("--kind", type=click.Choice(get_args(SubmittedKind)), help="What NAME is. [whichever is registered]")
@click.option("--task", "tasks", multiple=True, callback=words, help="Tasks of the recipe. [the three ranked tasks]")
@click.option("--model", "models", multiple=True, callback=words, help="Models under a submitted defense. [nrms]")
@click.option(
    "--seeds", "seed_list", default=",".join(map(str, SEEDS)), callback=seeds, help="Seeds. Ranks need three."
)
@track_option
@click.option("--option", "options", multiple=True, callback=named, help="A hyper-parameter of NAME: OPTION=VALUE.")
@click.option("--authors", default="", show_default=False, help="Who submits it, as the page shall say it.")
@click.option("--link", default="", show_default=False, help="Where it is described: an address.")
@click.option("--note", default="", show_default=False, help="What readers should know.")
@click.option("--out", type=PATH, help="Where records go. [submissions/NAME]")
@click.option("--archive", type=PATH, help="The file to write. [NAME.zip beside --out]")
@click.option("--workers", type=click.IntRange(1), help="Cells at a time. [one a core]")
@data_options
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
def submit(
    name: str,
    kind: SubmittedKind | None,
    tasks: tuple[str, ...],
    models: tuple[str, ...],
    seed_list: tuple[int, ...],
    track: Track,
    options: dict[str, Options],
    authors: str,
    link: str,
    note: str,
    out: Path | None,
    archive: Path | None,
    workers: int | None,
    data: DataOptions,
    dry_run: bool,
) -> int:
    """Run the fixed recipe on the plugin NAME and pack records, its source and the perturbed inputs into one archive.

    A defense is trained on every task with every seed, beside its undefended twin; a model undefended and under pgd.
    Finished cells are skipped, so a run that was stopped goes on. Cells are always guarded (docs/security.md).
    On the standard track the recipe is whole, or nothing is run: tasks, models and seeds may only be added to it.
    Send the archive as described in docs/results/submitting.md; the receiver runs `recgauntlet verify` on it.

    \b
    Examples:
      recgauntlet submit my-defense --track demo --task video-watch --seeds 0
      recgauntlet submit my-defense --authors "A. Author" --link https://example.org/paper
    """
    console = Console(highlight=False)
    kind = kind or _kind_of(name)
    check_owners(options, (name,), "--option")
    sender = _sender(authors, link, note)
    out = out or Path("submissions") / name
    check_not_frozen(out, "--out")
    target = archive or out.parent / f"{name}.zip"
    models_of = (name,) if kind == "model" else models or MODELS
    defenses = (TWIN, name) if kind == "defense" else (TWIN, "pgd")
    sources = data.sources(tasks or TASKS)
    own = options_of(options, name)
    specs = [
        CellSpec(
            task=task,
            track=track,
            model=model,
            defense=defense,
            seed=seed,
            out=out,
            source=sources(task),
            model_options=own if kind == "model" else (),
            defense_options=own if kind == "defense" and defense == name else (),
        )
        for seed, task, model, defense in product(seed_list, tasks or TASKS, models_of, defenses)
    ]
    if left_out := lacking(recipe_of(specs), kind):
        raise RecordError(
            f"leaves out {', '.join(name for names in left_out.values() for name in names)} of the fixed recipe, so "
            "recgauntlet verify would refuse the archive; nothing was run",
            field=", ".join(_CHOICES[field] for field in left_out),
            remedy="leave these options out; for a trial of a part take --track demo, or recgauntlet run "
            f"--out {out}, whose finished cells are reused here",
        )
    planned = plan(specs)
    print_plan(console, planned, out)
    if dry_run:
        return 0
    carry_out(console, planned, out, Limits(workers).local(planned[0].spec))
    paths = [cell.spec.record_path for cell in planned]
    records = [(path.relative_to(out), read_record(path)) for path in paths]
    print_results(console, [record for _, record in records])
    content = pack(kind, name, specs, records, sender)
    write_atomically(target, content)
    console.print(f"{target}: {len(records)} records, {len(content) / 1e6:.2f} MB", soft_wrap=True)
    console.print(f"next: recgauntlet verify {target}", soft_wrap=True)
    return 0


@click.command(short_help="Check a submission: everything that is wrong, at once.")
@click.argument("archive", type=PATH)
@click.option("--lot", type=click.IntRange(0), help="The number that draws the cell to be run again. [at random]")
@click.option("--no-rerun", is_flag=True, help="Run no cell: nothing of the plugin is executed.")
@click.option("--no-data", is_flag=True, help="Do not check perturbed inputs: no data is needed.")
@click.option("--device", default="auto", help="auto, cpu, cuda, cuda:0 or mps, for the cell.")
@data_options
def verify(
    archive: Path,
    lot: int | None,
    no_rerun: bool,
    no_data: bool,
    device: str,
    data: DataOptions,
) -> int:
    """Check the submission in ARCHIVE, a zip file or the directory of one that was merged.

    Checked are: names, sizes and sums of all files; every record's schema, digest and columns; task, data and suite
    fingerprints; that the recipe's cells and seeds are all there; outcomes against scores; the summary, computed again;
    the budgets of the perturbed inputs that the records keep, rebuilt beside the data; and one cell, drawn by lot, run
    again. Only that last step runs the plugin, behind its fence, and only if the same source is installed here.

    Exit code 0: all is well. 1: something is not; everything found is printed. 2: there is nothing to check.

    \b
    Examples:
      recgauntlet verify my-defense.zip
      recgauntlet verify my-defense.zip --no-rerun --no-data
      recgauntlet verify results/2026.5/submissions/my-defense --lot 7
    """
    console = Console(highlight=False)
    opened = open_merged(archive) if archive.is_dir() else open_archive(archive)
    findings = list(static_findings(opened))
    _tell(console, "files, records, recipe, outcomes, summary", findings, f"{len(opened.records)} records")
    sources = data.sources()
    if not no_data and opened.records:
        found, checked = with_bar(console, lambda progress: evidence_findings(opened, sources, progress=progress))
        _tell(console, "budgets of perturbed inputs", found, f"{checked} inputs")
        findings += found
    if not no_rerun and opened.manifest is not None and not opened.findings:
        lot = secrets.randbelow(1_000_000) if lot is None else lot
        missing = source_finding(opened.manifest)
        if missing:
            again = Rerun(False, (missing,))
        else:
            path = draw(opened, opened.manifest, lot)
            again = run_again(console, path, opened.records[path], lot, sources, device)
            if archive.is_dir() and archive.resolve().parent.name == SUBMISSIONS:
                keep(console, archive.resolve().parents[1], opened.records[path], again, lot, archive.name)
        agreement = "every score the same to the last bit" if again.same else "within the stated tolerance"
        _tell(console, "the cell run again", again.findings, agreement)
        findings += again.findings
    console.print(f"{len(findings)} findings" if findings else "all is well")
    return 1 if findings else 0


@click.command(short_help="Add a checked submission to a release, as files.")
@click.argument("archive", type=PATH)
@click.argument("release", type=PATH)
def merge(archive: Path, release: Path) -> None:
    """Put the files of the submission ARCHIVE into RELEASE/submissions/<name>/, for a commit of its own.

    It is checked first as by `recgauntlet verify --no-rerun --no-data`. Nothing else in RELEASE changes, and what was
    merged never changes afterwards.

    \b
    Examples:
      recgauntlet merge my-defense.zip results/2026.5
    """
    target = merge_archive(archive, release)
    click.echo(f"merged as {target}")
    click.echo(f"next: recgauntlet site --results {release} --out {release}-site")


def _tell(console: Console, what: str, findings: Sequence[Finding], good: str) -> None:
    console.print(f"WRONG {what}:" if findings else f"ok    {what}: {good}")
    for finding in findings:
        console.print(f"  {visible(str(finding))}", soft_wrap=True, markup=False)


def _kind_of(name: str) -> SubmittedKind:
    there: list[SubmittedKind] = [kind for kind, group in GROUPS.items() if name in names(group)]
    if len(there) != 1:
        raise PluginError(
            f"{name!r} is {'a model and a defense' if there else 'no model and no defense that is installed'}",
            field="NAME",
            remedy="say --kind" if there else "install its package first: pip install ./NAME",
        )
    return there[0]


def _sender(authors: str, link: str, note: str) -> Sender:
    try:
        return Sender(authors=authors, link=link, note=note)
    except ValidationError as error:
        first = error.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else "authors"
        raise RecordError(
            first["msg"].removeprefix("Value error, "),
            field=f"--{field}",
            remedy="give one line of plain text (--note: several), and an address that begins with https://",
        ) from error
