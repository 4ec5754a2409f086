"""`recgauntlet list` and `recgauntlet show`: what is installed, and the summary of a record."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console
from rich.table import Column, Table

from recgauntlet.attacks.base import find_attack
from recgauntlet.cli.options import PATH
from recgauntlet.core.plugins import Kind, names
from recgauntlet.core.recommender import find_model
from recgauntlet.core.task import find_task
from recgauntlet.core.types import Scalar
from recgauntlet.records.io import read_record
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.summary import print_summary
from recgauntlet.training.defense import find_defense
from recgauntlet.training.tuned import Method, every_tuned, tuned_for


@click.command("list", short_help="List what is installed: tasks, models, defenses, attacks.")
@click.argument("kind", type=click.Choice(["tasks", "models", "defenses", "attacks"]))
def list_(kind: Kind) -> None:
    """List the installed tasks, models, defenses or attacks with what they take.

    Whatever another package registers as an entry point (recgauntlet.tasks, .models, .defenses, .attacks) is listed
    beside the built-in ones.

    \b
    Examples:
      recgauntlet list defenses
    """
    rows = {"tasks": _tasks, "models": _models, "defenses": _defenses, "attacks": _attacks}[kind]()
    name, *others = rows[0]  # a name broken in two cannot be copied
    columns = [Column(name, no_wrap=True), *(Column(heading, overflow="fold") for heading in others)]
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows[1:]:
        table.add_row(*row)
    Console(highlight=False).print(table, markup=False) if len(rows) > 1 else click.echo("none")


def _tasks() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("task", "version", "tracks", "threats", "question")]
    for name in names("tasks"):
        card = find_task(name).card
        threats = ", ".join(threat.id for threat in card.threats)
        rows.append((card.id, str(card.version), ", ".join(card.tracks), threats, card.question))
    return rows


def _models() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("model", "what it is", "reads", "options", "tuned", "from")]
    for name in names("models"):
        plugin = find_model(name)
        surfaces = ", ".join(sorted(plugin.value.surfaces))
        options = _arguments(plugin.value.hyperparameters())
        origin, tuned = f"{plugin.distribution} {plugin.version}", _tuned("model", name)
        rows.append((name, _in_a_line(plugin.value), surfaces, options, tuned, origin))
    return rows


def _defenses() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("defense", "what it is", "options", "tuned", "from")]
    for name in names("defenses"):
        plugin = find_defense(name)
        options = _arguments(plugin.value().hyperparameters())
        origin, tuned = f"{plugin.distribution} {plugin.version}", _tuned("defense", name)
        rows.append((name, _in_a_line(plugin.value), options, tuned, origin))
    return rows


def _attacks() -> list[tuple[str, ...]]:
    from recgauntlet.attacks.suite import suite_attacks, suite_ref

    suite = suite_ref()
    rows: list[tuple[str, ...]] = [("attack", "from", "surface", "options")]
    for attack in suite_attacks():
        rows.append((attack.name, f"suite {suite.id}", attack.surface, _arguments(attack.hyperparameters())))
    for name in names("attacks"):
        plugin = find_attack(name)
        rows.append((name, f"{plugin.distribution} {plugin.version}", plugin.value.surface, ""))
    return rows


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
