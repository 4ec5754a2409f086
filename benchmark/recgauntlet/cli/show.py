"""`recgauntlet list` and `recgauntlet show`: what is installed, and the summary of a record."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table

from recgauntlet.attacks.base import find_attack
from recgauntlet.attacks.poisoning.base import PoisoningAttack, find_poisoning
from recgauntlet.attacks.poisoning.suite import POISONING_VERSION, insertion_attacks, poisoning_attacks
from recgauntlet.cli.options import PATH
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.escape import visible
from recgauntlet.core.names import typed
from recgauntlet.core.plugins import Kind, each
from recgauntlet.core.recommender import find_model
from recgauntlet.core.task import find_task
from recgauntlet.core.types import Scalar
from recgauntlet.records.io import read_record
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.summary import print_summary
from recgauntlet.training.defense import find_defense
from recgauntlet.training.tuned import Method, every_tuned, tuned_for

WHAT = "what it is"
"""The heading of the sentence that stands without a heading."""


@click.command("list", short_help="List what is installed: tasks, models, defenses, attacks, attacks on training data.")
@click.argument("kind", type=click.Choice(["tasks", "models", "defenses", "attacks", "poisoning"]))
def list_(kind: Kind) -> None:
    """List the installed tasks, models, defenses, attacks on inputs or attacks on training data (poisoning).

    Whatever another package registers as an entry point (recgauntlet.tasks, .models, .defenses, .attacks, .poisoning)
    is listed beside the built-in ones. A plugin that cannot be loaded is left out and named with its error.

    \b
    Examples:
      recgauntlet list defenses
      recgauntlet list poisoning
    """
    headings, row = _TABLES[kind]
    rows, broken = each(kind, row)
    rows = [*_suite(kind), *rows]
    table = Table.grid(Column(no_wrap=True), Column(overflow="fold"), padding=(0, 2, 1, 0))  # narrow terminals too
    for name, *cells in rows:
        said = [(heading, cell) for heading, cell in zip(headings[1:], cells, strict=True) if cell]
        table.add_row(name, "\n".join(cell if heading == WHAT else f"{heading}: {cell}" for heading, cell in said))
    Console(highlight=False).print(table, markup=False) if rows else click.echo("none")
    print_broken(broken)


def print_broken(errors: Sequence[RecGauntletError]) -> None:
    """The plugins that a list leaves out, on standard error: each with its error and the remedy."""
    for error in errors:
        click.echo("left out: " + visible(str(error), keep="\n"), err=True)


def _task(name: str) -> tuple[str, ...]:
    card = find_task(name).card
    threats = ", ".join(threat.id for threat in card.threats)
    return card.id, card.question, str(card.version), ", ".join(card.tracks), threats


def _model(name: str) -> tuple[str, ...]:
    plugin = find_model(name)
    surfaces = ", ".join(sorted(plugin.value.surfaces))
    options = _arguments(plugin.value.hyperparameters())
    origin, tuned = f"{plugin.distribution} {plugin.version}", _tuned("model", name)
    return name, _in_a_line(plugin.value), surfaces, options, tuned, origin


def _defense(name: str) -> tuple[str, ...]:
    plugin = find_defense(name)
    options = _arguments(plugin.value().hyperparameters())
    origin, tuned = f"{plugin.distribution} {plugin.version}", _tuned("defense", name)
    return typed("defense", name), _in_a_line(plugin.value), options, tuned, origin


def _attack(name: str) -> tuple[str, ...]:
    plugin = find_attack(name)
    return name, plugin.value.surface, "", f"{plugin.distribution} {plugin.version}"


def _poisoning(name: str) -> tuple[str, ...]:
    plugin = find_poisoning(name)
    return _poisoning_row(plugin.value(), f"{plugin.distribution} {plugin.version}")


def _poisoning_row(attack: PoisoningAttack, origin: str) -> tuple[str, ...]:
    return attack.name, _in_a_line(type(attack)), attack.knowledge, _arguments(attack.hyperparameters()), origin


def _suite(kind: Kind) -> list[tuple[str, ...]]:
    """The rows of the suite's own attacks; none of other kinds."""
    if kind == "poisoning":
        poisoning = (*poisoning_attacks(), *insertion_attacks())
        return [_poisoning_row(attack, f"suite {POISONING_VERSION}") for attack in poisoning]
    if kind != "attacks":
        return []
    from recgauntlet.attacks.suite import suite_attacks, suite_ref

    origin = f"suite {suite_ref().id}"
    return [(attack.name, attack.surface, _arguments(attack.hyperparameters()), origin) for attack in suite_attacks()]


_TABLES: dict[Kind, tuple[tuple[str, ...], Callable[[str], tuple[str, ...]]]] = {
    "tasks": (("task", WHAT, "version", "tracks", "threats"), _task),
    "models": (("model", WHAT, "reads", "options", "tuned", "from"), _model),
    "defenses": (("defense", WHAT, "options", "tuned", "from"), _defense),
    "attacks": (("attack", "surface", "options", "from"), _attack),
    "poisoning": (("attack", WHAT, "knows", "options", "from"), _poisoning),
}
"""The headings of each kind's table, and its row of a name."""


def _tuned(kind: Method, name: str) -> str:
    """What was tuned of a method, and where."""
    found = [entry for entry, _ in every_tuned(kind, name)]
    return "; ".join(f"{_arguments(entry.values)} on {entry.task} with {entry.model}" for entry in found)


def _arguments(options: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


def _in_a_line(thing: type) -> str:
    """What a plugin is: the first paragraph of its class; of its module, where that is an equation."""
    said = inspect.cleandoc(thing.__doc__ or "")
    if said.startswith("`"):
        said = inspect.getdoc(inspect.getmodule(thing)) or said
    return " ".join(said.partition("\n\n")[0].split())


@click.command(short_help="Print a summary of one record.")
@click.argument("record", type=PATH)
def show(record: Path) -> None:
    """Print a summary of RECORD (a JSON file): what ran, clean and robust accuracy, cost, gates.

    RECORD may be compressed (NAME.json.xz), as in a release. It is checked first: a truncated, edited or foreign
    record ends in an error that says so.

    \b
    Examples:
      recgauntlet show demo/video-watch/demo/nrms-pgd-0.json
    """
    print_card(Console(highlight=False), read_record(record))


def print_card(console: Console, record: RunRecord) -> None:
    """The summary of a record; values that the defense's package ships as tuned for such a cell are marked."""
    entry = tuned_for(
        "defense", record.defense.name, task=record.task.id, track=record.task.track, model=record.model.name
    )
    print_summary(console, record, tuned=entry[0].values if entry is not None else {})
