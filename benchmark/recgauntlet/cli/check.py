"""`recgauntlet check`: the conformance suite on one plugin, with a remedy for every failing check."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from recgauntlet.cli.options import EVERY, named, options_of
from recgauntlet.cli.progress import with_bar
from recgauntlet.core.errors import PluginError
from recgauntlet.core.plugins import names
from recgauntlet.core.spec import Options

if TYPE_CHECKING:
    from recgauntlet.testing import Kind, Outcome

KINDS: dict[str, Kind] = {
    "defense": "defenses",
    "model": "models",
    "task": "tasks",
    "attack": "attacks",
    "poisoning": "poisoning",
}
STYLES = {"passed": "green", "failed": "bold red", "expected": "yellow", "skipped": "cyan", "unexpected": "bold red"}


def expected(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    """`CHECK=REASON`."""
    found = {}
    for item in value:
        name, equals, reason = item.partition("=")
        if not (name.strip() and equals and reason.strip()):
            raise click.BadParameter(f"{item!r}: give CHECK=REASON")
        found[name.strip()] = reason.strip()
    return found


@click.command(short_help="Check a defense, model, task, attack or poisoning attack of yours against its contract.")
@click.argument("name", required=False)
@click.option("--kind", type=click.Choice(list(KINDS)), help="What NAME is. [the only kind that has the name]")
@click.option("--option", "options", multiple=True, callback=named, help="A hyper-parameter of the plugin: NAME=VALUE.")
@click.option(
    "--expect-failure",
    "failures",
    multiple=True,
    callback=expected,
    metavar="CHECK=REASON",
    help="A check that the plugin cannot pass, and why. It is an error where it passes.",
)
@click.option("--list", "listing", is_flag=True, help="List the checks and what each looks at.")
def check(
    name: str | None, kind: str | None, options: dict[str, Options], failures: dict[str, str], listing: bool
) -> int:
    """Check the plugin NAME against its contract, on a tiny task and tiny models, in well under a minute.

    NAME is a registered defense, model, task or attack (recgauntlet list defenses, and so on), a registered attack on
    training data (kind poisoning; recgauntlet poison list), an attack of the suite,
    or the card of a task of your own (docs/extend/task.md). For every failing check, the command prints a remedy.
    Exit code 1: a check fails; 2: there is no such plugin. docs/extend/conformance.md lists the checks; the same checks
    run in your own tests with recgauntlet.testing.

    \b
    Examples:
      recgauntlet check my-defense
      recgauntlet check pgd --kind attack
      recgauntlet check bert --option layers=1
      recgauntlet check my-model --expect-failure "padding=positions count from the oldest item"
      recgauntlet check --list --kind defense
    """
    console = Console(highlight=False)
    if listing:
        list_checks(console, [KINDS[kind]] if kind else list(KINDS.values()))
        return 0
    if name is None:
        raise click.UsageError("give the NAME of a plugin, or --list")
    strange = sorted(set(options) - {EVERY, name})
    if strange:
        raise click.UsageError(f"--option: {strange[0]} is not what is checked; give NAME=VALUE")
    # a bar for every model that is loaded would tear the table apart
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from recgauntlet.testing import checks_for, run_checks

    what = KINDS[kind] if kind else guess_kind(name)
    checks = checks_for(what, name, options=dict(options_of(options, name)))
    found = with_bar(console, lambda report: run_checks(checks, expected_failures=failures, progress=report))
    print_outcomes(console, name, next(word for word, kind_ in KINDS.items() if kind_ == what), found)
    return 1 if any(outcome.bad for outcome in found) else 0


def guess_kind(name: str) -> Kind:
    """The only kind that has a plugin of that name; attacks of the suite come last.

    Raises
    ------
    PluginError
        Where none or several have.
    """
    if name.endswith(".toml"):
        return "tasks"
    having = [word for word, kind in KINDS.items() if name in names(kind)]
    if not having:
        from recgauntlet.attacks.poisoning.suite import poisoning_attacks
        from recgauntlet.attacks.suite import suite_attacks

        having = ["attack"] if name in {attack.name for attack in suite_attacks()} else []
        having += ["poisoning"] if name in {attack.name for attack in poisoning_attacks()} else []
    if len(having) == 1:
        return KINDS[having[0]]
    if having:
        raise PluginError(
            f"{name!r} is the name of several plugins: {', '.join(having)}",
            field="NAME",
            remedy=f"give --kind {' or --kind '.join(having)}",
        )
    near = difflib.get_close_matches(name, [each for kind in KINDS.values() for each in names(kind)], n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? Else " if near else ""
    raise PluginError(
        f"{name!r} is the name of no plugin",
        field="NAME",
        remedy=f"{hint}install the package that registers it; recgauntlet list defenses (models, tasks, attacks) shows "
        "what is installed",
    )


def list_checks(console: Console, kinds: Sequence[Kind]) -> None:
    """Every check of the kinds: its name and what it looks at."""
    from recgauntlet.testing.registry import rules

    singular = {kind: word for word, kind in KINDS.items()}
    columns = (Column("kind", no_wrap=True), Column("check", no_wrap=True), Column("what it looks at", overflow="fold"))
    table = Table(*columns, box=None, pad_edge=False)
    for kind in kinds:
        for rule in rules(kind):
            table.add_row(singular[kind], rule.name, Text(rule.about))
    console.print(table)


def print_outcomes(console: Console, name: str, kind: str, outcomes: Sequence[Outcome]) -> None:
    """A row a check, then what to change for each that failed, and the sum."""
    columns = [Column("check", no_wrap=True), Column("outcome", no_wrap=True)]
    columns += [Column("s", justify="right", no_wrap=True), Column("measured, or why", overflow="fold")]
    table = Table(*columns, box=None, pad_edge=False)
    for outcome in outcomes:
        words = "" if outcome.status == "failed" else outcome.words
        status = Text(outcome.status, style=STYLES[outcome.status])
        table.add_row(outcome.check.name, status, f"{outcome.seconds:.1f}", Text(words))
    console.print(table)
    for outcome in outcomes:
        if outcome.bad:
            lines = f"FAILED {outcome.check.name}: {outcome.words}\n  what to change: {outcome.remedy}"
            console.print(f"{lines}\n  what it looks at: {outcome.check.about}", markup=False, soft_wrap=True)
    statuses = [outcome.status for outcome in outcomes]
    counts = [f"{statuses.count(status)} {status}" for status in STYLES if status in statuses]
    seconds = sum(outcome.seconds for outcome in outcomes)
    verdict = "does NOT conform" if any(outcome.bad for outcome in outcomes) else "conforms"
    console.print(f"{name} ({kind}) {verdict}: {', '.join(counts)}; {seconds:.0f} s", markup=False, soft_wrap=True)
