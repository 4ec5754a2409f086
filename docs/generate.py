"""Fill the generated parts of the documentation: `make docs`, or `python docs/generate.py`.

A generated part is a table between `<!-- table: NAME ARGUMENT -->` and `<!-- end -->`, a number before
`<!--=QUANTITY-->` in a page of the zoo, or the output of a `console` block whose first line is `$ recgauntlet ...`.
Tables come from the committed release (`release_tables`), the figures in `docs/reference/*.json` (`measured_tables`)
and the code; tests compare.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable

from api_reference import api
from click.testing import CliRunner
from effects import effects
from markdown_table import DOCS, table
from measured_tables import (
    drift,
    equal_rows,
    exhaustive,
    exhaustive_rows,
    fake_orders,
    gaps,
    naturalness,
    performance,
    pilot,
    poisoned,
    separated,
    step_costs,
    suites,
    synonyms,
)
from pretrained_tables import claims, pretrained, steps
from release_tables import ablation, defenses, models, news, quantity, tasks

from recgauntlet.cli import cli
from recgauntlet.leaderboard.dataframe_columns import COLUMNS, EXAMPLE_COLUMNS, documentation
from recgauntlet.testing.registry import Kind, rules

OF_A_CELL = {column.name for column in COLUMNS}


def checks(kind: Kind) -> str:
    """The conformance checks of a kind of plugin, in the order in which they run."""
    return table(["check", "tests that"], [[f"`{rule.name}`", rule.about] for rule in rules(kind)])


TABLES: dict[str, Callable[..., str]] = {
    "api": api,
    "ablation": ablation,
    "checks": checks,
    "claims": claims,
    "columns": lambda: documentation(COLUMNS),
    "defenses": defenses,
    "drift": drift,
    "effects": effects,
    "exhaustive": exhaustive,
    "exhaustive-rows": exhaustive_rows,
    "fake-orders": fake_orders,
    "gaps": gaps,
    "equal-rows": equal_rows,
    "example-columns": lambda: documentation([own for own in EXAMPLE_COLUMNS if own.name not in OF_A_CELL]),
    "models": models,
    "naturalness": naturalness,
    "news": news,
    "performance": performance,
    "pilot": pilot,
    "pretrained": pretrained,
    "poisoned": poisoned,
    "separated": separated,
    "step-costs": step_costs,
    "steps": steps,
    "suites": suites,
    "synonyms": synonyms,
    "tasks": tasks,
}


def output_of(command: str) -> str:
    """What a command prints, run at the root of the repository."""
    result = CliRunner().invoke(cli, shlex.split(command)[1:], catch_exceptions=False)
    if result.exit_code != 0:
        raise SystemExit(f"{command}: {result.output}")
    return "\n".join(line.rstrip() for line in result.stdout.rstrip().splitlines())


def generated(page: str) -> str:
    """The page with all generated parts made again."""

    def fill(found: re.Match[str]) -> str:
        return f"<!-- table: {found[1]} -->\n{TABLES[found[1].split()[0]](*found[1].split()[1:])}<!-- end -->"

    page = re.sub(r"[+−]?[\d.]+(<!--=(.+?)-->)", lambda found: quantity(found[2]) + found[1], page)
    page = re.sub(r"<!-- table: (.+?) -->\n(?:.*\n)*?<!-- end -->", fill, page)
    return re.sub(
        r"^```console\n\$ (recgauntlet .*)\n(?:.*\n)*?```$",
        lambda found: f"```console\n$ {found[1]}\n{output_of(found[1])}\n```",
        page,
        flags=re.MULTILINE,
    )


def main() -> None:
    """Write the pages whose generated parts have changed."""
    for path in sorted(DOCS.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        if (new := generated(text)) != text:
            path.write_text(new, encoding="utf-8")
            print(path.relative_to(DOCS.parent), file=sys.stderr)


if __name__ == "__main__":
    main()
