"""`--help` of every command: examples that the command would take."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterator

import click
import pytest

from recgauntlet.cli import cli


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """`command` and its sub-commands, by what is typed to call them."""
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for part in command.list_commands(context):
            below = command.get_command(context, part)
            assert below is not None
            yield from commands(below, f"{name} {part}")


COMMANDS = dict(commands(cli, "recgauntlet"))


def examples(command: click.Command) -> list[str]:
    """The lines below "Examples:", without the explanation that may follow after several blanks."""
    lines = inspect.cleandoc(command.help or "").partition("\b\nExamples:\n")[2].partition("\n\n")[0].splitlines()
    return [line.strip().partition("   ")[0] for line in lines]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_has_examples_of_it(name: str) -> None:
    shown = examples(COMMANDS[name])
    assert shown
    assert all(f"{line} ".startswith(f"{name} ") for line in shown)


@pytest.mark.parametrize("line", dict.fromkeys(line for command in COMMANDS.values() for line in examples(command)))
def test_examples_name_commands_and_options_that_exist(line: str) -> None:
    words = shlex.split(line)
    length = next(n for n in range(len(words), 0, -1) if " ".join(words[:n]) in COMMANDS)
    command = COMMANDS[" ".join(words[:length])]
    assert not isinstance(command, click.Group)
    # The parser alone: no file is looked at, but an option that is unknown or lacks its value is an error.
    command.make_parser(click.Context(command)).parse_args(words[length:])
