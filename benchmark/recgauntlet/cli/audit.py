"""`recgauntlet audit`: run fake defenses through the installed suite and check that it detects them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table

from recgauntlet.attacks.exhaustive import BEAM
from recgauntlet.cli.options import PATH, DataOptions, data_options, words
from recgauntlet.cli.progress import OneBar
from recgauntlet.core.card import Track
from recgauntlet.core.files import write_atomically
from recgauntlet.core.names import shown
from recgauntlet.core.spec import TWIN, CellSpec
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.evaluation.exhaustive import LARGEST_GAP, Gap
from recgauntlet.testing.audit.poisoning import audit_poisoning, is_poisonable, poisoned_subject
from recgauntlet.testing.audit.run import EXAMPLES, MARGIN, Audit, Measured, subject_gaps, train_subject
from recgauntlet.testing.audit.run import audit as run_audit
from recgauntlet.testing.audit.zoo import account_zoo, zoo

TRAINING_SHARE, POISONING_SHARE = 0.1, 0.1
"""Of the progress; a guess that only the bar uses."""


@click.command(short_help="Attack fake defenses; fails if one is not detected.")
@click.option("--task", default="news-click", help="The task, or the path of your own card.")
@click.option("--track", type=click.Choice(["demo", "standard"]), default="demo", help="Its data.")
@click.option("--model", default="nrms", help="The model that the fakes are built around.")
@click.option("--fake", "fakes", multiple=True, callback=words, help="Only these (repeat, or commas). [all]")
@click.option(
    "--examples",
    type=click.IntRange(20),
    help=f"Test examples, even. [{EXAMPLES}, or all where the track has fewer]",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the training and the attacks.")
@click.option(
    "--twin-seed",
    type=click.IntRange(0),
    help="Transfer attacks from an undefended twin of this seed: harder for the suite. [the model inside the fakes]",
)
@click.option(
    "--exhaustive", is_flag=True, help="Instead of fakes: compare the suite with a search of all legal edits."
)
@click.option("--out", type=PATH, help="Write the table as JSON too.")
@data_options
def audit(
    task: str,
    track: Track,
    model: str,
    fakes: tuple[str, ...],
    examples: int | None,
    seed: int,
    twin_seed: int | None,
    exhaustive: bool,
    out: Path | None,
    data: DataOptions,
) -> int:
    """Prove that the installed suite is sound: no defense that only looks robust gets past it.

    An undefended model is trained, then wrapped in fakes: scaled logits, quantized inputs, noise at inference,
    gradients that lie, answers that are remembered. Each goes through the same gauntlet as a row of the board. A fake
    is found out if its robust accuracy is within 2 points of that of the model inside, or if a sanity check flags it,
    so that it is not ranked. The honest model itself must pass every check.

    On a task with fake accounts as a threat, fakes against these are audited too: filters of the training data that
    know the genuine data, or go by the form of accounts. They are trained around item-knn, clean and poisoned.

    With --exhaustive the undefended model is attacked twice under every threat of the task that counts edits: by the
    suite, and by a search that scores all that the verifier accepts (one edit exactly; two from the 32 worst inputs of
    one edit, so what it finds is a lower bound). The suite may miss one point, or one example of fewer than 100. Under
    a threat that promotes, only unclicked examples are attacked. An example that the search does not break takes up to
    100,000 inputs, so 100 examples take minutes.

    Exit code 1: a fake defense is not detected, the honest model is flagged, or the suite misses more.
    docs/protocol.md lists the fakes.

    \b
    Examples:
      recgauntlet audit
      recgauntlet audit --fake noisy-logits,memorized-pairs --examples 150
      recgauntlet audit --fake short-profiles,pairs-by-heart --task music-listen
      recgauntlet audit --exhaustive --task video-watch
    """
    if exhaustive and (fakes or twin_seed is not None):
        raise click.UsageError("--exhaustive attacks the undefended model alone: leave --fake and --twin-seed out")
    chosen, against_accounts = zoo(fakes), account_zoo(fakes)
    console = Console(highlight=False)
    sources = data.sources([task])
    spec = CellSpec(task, track, model, TWIN, seed, Path(), sources(task), device="cpu")
    if not fakes and not is_poisonable(find_task_or_card(task).card):
        against_accounts = ()
    result = poisoned = None
    gaps: tuple[Gap, ...] = ()
    with OneBar(console) as bar:
        end = 1.0 - POISONING_SHARE * bool(against_accounts) if chosen else 0.0
        if chosen:
            subject = train_subject(spec, examples, twin_seed=twin_seed, progress=bar.part(0.0, TRAINING_SHARE))
            rest = bar.part(TRAINING_SHARE, 1.0 if exhaustive else end)
            if exhaustive:
                gaps = subject_gaps(subject, rest)
            else:
                result = run_audit(subject, chosen, rest)
        if against_accounts and not exhaustive:
            poisoned = audit_poisoning(poisoned_subject(spec), against_accounts, bar.part(end, 1.0))
    if exhaustive:
        return _report_gaps(console, gaps, out)
    audits = [one for one in (result, poisoned) if one is not None]
    for one in audits:
        print_audit(console, one)
    sound = all(one.sound for one in audits)
    if out is not None:
        content = (asdict(result) if result else {}) | ({"poisoning": asdict(poisoned)} if poisoned else {})
        write_atomically(out, (json.dumps(content | {"sound": sound}, indent=1) + "\n").encode())
        console.print(f"table written to {out}", soft_wrap=True)
    return 0 if sound else 1


def _report_gaps(console: Console, gaps: Sequence[Gap], out: Path | None) -> int:
    """Print the table of the exhaustive search; the exit code."""
    headings = ("threat", "edits", "examples", "clean", "suite", "search", "missed", "seconds")
    table = Table(*headings, box=None, pad_edge=False)
    for gap in gaps:
        shares = (f"{share:.1%}" for share in (gap.clean, gap.suite, gap.exhaustive))
        missed = f"{100 * gap.value:.1f}{'' if gap.passed else ' TOO MUCH'}"
        table.add_row(gap.threat, str(gap.edits), str(gap.examples), *shares, missed, f"{gap.seconds:.0f}")
    console.print(table)
    for line in _explanation(gaps):
        console.print(line, soft_wrap=True)
    if out is not None:
        write_atomically(out, (json.dumps([asdict(gap) for gap in gaps], indent=1) + "\n").encode())
        console.print(f"table written to {out}", soft_wrap=True)
    return 0 if all(gap.passed for gap in gaps) else 1


def _explanation(gaps: Sequence[Gap]) -> list[str]:
    """What the columns mean, and how far the sample and the search reach."""
    lines = [
        "suite, search: right after the suite alone, with the medium tier's queries, and after the search alone",
        "missed: points that the search breaks of what the suite leaves; 1 point, or one example, may be",
        f"one edit is searched exactly, two from the {BEAM} most damaging inputs of one, so more may be missed",
        "seconds: of processor time",
    ]
    fewest = min(gap.examples for gap in gaps)
    if fewest * LARGEST_GAP < 1:
        lines.append(
            f"one of {fewest} examples is {100 / fewest:.1f} points: ask for more with --examples; more than the "
            "demo track has are in --track standard"
        )
    return lines


def print_audit(console: Console, result: Audit) -> None:
    """The table: the honest model, then every fake with what it gained and what flagged it; and the outcome."""
    console.print(
        f"{result.task}, suite {result.suite}, {result.examples} test examples; robust accuracy at the "
        f"{shown('tier', result.tier)} tier, in brackets what it has above the honest model",
        soft_wrap=True,
    )
    headings = ("fake", "clean", *result.honest.robust, "verdict")
    columns = [Column(each, overflow="fold", no_wrap=each in {"fake", "verdict"}) for each in headings]
    table = Table(*columns, box=None, pad_edge=False)
    table.add_row("(the honest model)", *_figures(result.honest, None), "")
    for row in result.rows:
        table.add_row(row.fake, *_figures(row.measured, row.gain), row.verdict)
    console.print(table)
    for row in result.rows:
        if row.measured.flags:
            console.print(f"flags of {row.fake}: {', '.join(row.measured.flags)}", soft_wrap=True)
    for name in result.undetected:
        console.print(
            f"UNDETECTED {name}: more than {MARGIN:.0%} above the honest model, and nothing flags it", soft_wrap=True
        )
    if result.honest.flags:
        console.print(f"FALSE ALARM: the honest model is flagged ({', '.join(result.honest.flags)})", soft_wrap=True)
    caught = sum(row.verdict != "UNDETECTED" for row in result.rows)
    console.print(
        f"{caught} of {len(result.rows)} fake defenses detected: the suite is {'' if result.sound else 'NOT '}sound"
    )


def _figures(found: Measured, gain: dict[str, float] | None) -> list[str]:
    cells = [f"{found.clean:.1%}"]
    for threat, robust in found.robust.items():
        cells.append(f"{robust:.1%}" if gain is None else f"{robust:.1%} ({100 * gain[threat]:+.1f})")
    return cells
