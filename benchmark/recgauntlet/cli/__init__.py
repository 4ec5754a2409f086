"""The command line: a thin layer over the package."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from importlib.metadata import version
from types import FrameType
from typing import Any, cast

import click

from recgauntlet.core.errors import RecGauntletError
from recgauntlet.core.escape import visible
from recgauntlet.core.plugins import find, names, not_a

_LAZY = {
    "attack": ("recgauntlet.cli.attack", "Attack a trained checkpoint and print the summary."),
    "audit": ("recgauntlet.cli.audit", "Attack fake defenses; fails if one is not detected."),
    "challenge": ("recgauntlet.cli.challenge", "Run your own attack on a record, or check such evidence."),
    "check": ("recgauntlet.cli.check", "Check a defense, model, task or attack of yours against its contract."),
    "cite": ("recgauntlet.cli.cite", "Cite the software, a release or a row: BibTeX and a sentence."),
    "compare": ("recgauntlet.cli.compare", "Compare two rows: differences, intervals, p values."),
    "completion": (
        "recgauntlet.cli.completion",
        "Print a script that completes commands, options and names in your shell.",
    ),
    "data": ("recgauntlet.cli.data", "See, fetch and check the tasks' data."),
    "explain": ("recgauntlet.cli.explain", "Explain what turns one decision of a trained model."),
    "export": ("recgauntlet.cli.export", "Export a trained model to ONNX, torch.export or safetensors, with its card."),
    "harm": ("recgauntlet.cli.harm", "How far up attacks push items that you name."),
    "list": (
        "recgauntlet.cli.show",
        "List what is installed: tasks, models, defenses, attacks, attacks on training data.",
    ),
    "merge": ("recgauntlet.cli.submit", "Add a checked submission to a release, as files."),
    "new": ("recgauntlet.cli.new", "Write a package for a defense, model, task or attack of yours, tests included."),
    "poison": ("recgauntlet.cli.poison", "Make and check fake accounts for the training data."),
    "power": ("recgauntlet.cli.power", "How many examples and seeds a difference needs."),
    "release": ("recgauntlet.cli.release", "Freeze results for good; verify, compare and list releases."),
    "retrain": ("recgauntlet.cli.retrain", "Train a checkpoint further on newer data, and say what got worse."),
    "run": ("recgauntlet.cli.run", "Train, attack and record: the benchmark itself."),
    "serve": ("recgauntlet.cli.serve", "Serve a trained model over HTTP: rank candidates for a history."),
    "show": ("recgauntlet.cli.show", "Print a summary of one record."),
    "submit": ("recgauntlet.cli.submit", "Run the fixed recipe on your plugin and pack the result."),
    "table": ("recgauntlet.cli.table", "Print chosen rows as LaTeX, Markdown, HTML or CSV."),
    "track": ("recgauntlet.cli.track", "Log records to TensorBoard, MLflow, Weights & Biases or Trackio."),
    "tune": ("recgauntlet.cli.tune", "Choose hyper-parameters on validation data, the same few trials a method."),
    "verify": ("recgauntlet.cli.submit", "Check a submission: everything that is wrong, at once."),
    "weights": ("recgauntlet.cli.weights", "Publish, fetch and check the trained weights of cells."),
}
"""Commands whose modules are loaded when they are called: torch takes seconds to import, `--help` should not."""


class _Commands(click.Group):
    """The built-in commands and those that other packages register (`recgauntlet.commands`)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*_LAZY, *names("commands")})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command: Any
        if cmd_name in _LAZY:
            attribute = "list_" if cmd_name == "list" else cmd_name
            command = getattr(importlib.import_module(_LAZY[cmd_name][0]), attribute)
        elif cmd_name in names("commands"):
            plugin = find("commands", cmd_name)
            command = plugin.value
            if not isinstance(command, click.Command):
                raise not_a(plugin, "a click command")
        else:
            return None
        return cast(click.Command, command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = []
        for name in self.list_commands(ctx):
            if name in _LAZY:
                rows.append((name, _LAZY[name][1]))
            else:
                try:
                    command = self.get_command(ctx, name)
                    rows.append((name, command.get_short_help_str(80) if command else ""))
                except RecGauntletError as error:  # the help of the other commands is shown all the same
                    rows.append((name, visible(error.problem)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _show_version(ctx: click.Context, option: click.Parameter, asked: bool) -> None:
    """What a report of a fault must name."""
    if not asked or ctx.resilient_parsing:
        return
    from recgauntlet.attacks.poisoning.suite import POISONING_VERSION
    from recgauntlet.attacks.suite import suite_ref
    from recgauntlet.core.checkout import commit

    suite = suite_ref()
    click.echo(f"recgauntlet, version {version('recgauntlet')}")
    click.echo(f"commit {commit() or 'unknown: not run from a checkout'}")
    click.echo(f"suite {suite.id} {suite.version} ({suite.fingerprint[:16]})")
    click.echo(f"attacks on training data {POISONING_VERSION}")
    ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version, the commit and the suite of attacks, and exit.",
)
def cli() -> None:
    """How robust is a recommender system, and what does robustness cost?

    \b
    Examples:
      recgauntlet run --track demo --out demo              the small demo of all tasks
      recgauntlet site --results demo --out demo-site
      recgauntlet data fetch video-watch
      recgauntlet run --task video-watch --model nrms --defense pgd --seeds 0,1,2 --out results/mine
    """


def main() -> None:
    """Entry point of the command `recgauntlet`: errors of the input end in one clear message and exit code 2."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    signal.signal(signal.SIGTERM, _interrupt)  # a scheduler that ends a job ends it as Ctrl-C does
    try:
        code = cli.main(standalone_mode=False)
    except RecGauntletError as error:
        click.echo("error: " + visible(str(error), keep="\n"), err=True)  # names in it may be anybody's
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped; finished cells are kept where the command runs cells: run it again to go on", err=True)
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
