"""`recgauntlet completion`: words that a shell completes."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from recgauntlet.core.names import typed
from recgauntlet.core.plugins import Kind, names

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_RECGAUNTLET_COMPLETE"


@click.command(short_help="Print a script that completes commands, options and names in your shell.")
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print a script for SHELL that completes commands, options, and names of tasks, models and defenses.

    \b
    Examples:
      recgauntlet completion bash >> ~/.bashrc
      recgauntlet completion zsh >> ~/.zshrc
      recgauntlet completion fish > ~/.config/fish/completions/recgauntlet.fish
    """
    from recgauntlet.cli import cli

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(cli, {}, "recgauntlet", VARIABLE).source())


class Registered(click.types.StringParamType):
    """A registered name, or some with commas between them: any text, of which a shell completes the last name."""

    def __init__(self, kind: Kind) -> None:
        self.kind: Kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin as what was typed."""
        before, comma, last = incomplete.rpartition(",")
        found = [typed("defense", name) if self.kind == "defenses" else name for name in names(self.kind)]
        return [CompletionItem(before + comma + name) for name in sorted(found) if name.startswith(last)]


TASKS, MODELS, DEFENSES = Registered("tasks"), Registered("models"), Registered("defenses")
