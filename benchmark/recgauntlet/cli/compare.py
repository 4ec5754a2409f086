"""`recgauntlet compare`: the difference between two rows, with interval and p values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from recgauntlet.cli.options import TierName
from recgauntlet.core.card import RANKING_TIER, Tier
from recgauntlet.core.names import shown

if TYPE_CHECKING:
    from recgauntlet.leaderboard.address import RowAt
    from recgauntlet.leaderboard.compare import Comparison
    from recgauntlet.leaderboard.schema import Row


@click.command(short_help="Compare two rows: differences, intervals, p values.")
@click.argument("a")
@click.argument("b")
@click.option("--threat", "threats", multiple=True, help="A threat of the rows. [all that both have]")
@click.option("--tier", "tiers", type=TierName(), multiple=True, help="A tier of the budget. [medium]")
@click.option("--json", "as_json", is_flag=True, help="Everything, unrounded, as JSON.")
def compare(a: str, b: str, threats: tuple[str, ...], tiers: tuple[Tier, ...], as_json: bool) -> None:
    """Compare the rows A and B, each given as RELEASE/TASK/MODEL/DEFENSE.

    Both must have been measured on the same task, data, suite and test examples; the command refuses other rows and
    says what differs. Differences are paired: the same test pairs, the same seeds. Interval and "p" are the board's
    bootstrap over seeds and pairs, by which rows are ranked: the sentences rest on it. "p (models)" asks whether these
    trained models differ (sign flips over pairs, seeds kept together), "p (trainings)" whether new trainings would (a t
    test in which seeds and pairs are both random). These two are corrected for the number of lines (Holm).

    \b
    Examples:
      recgauntlet compare 2026.5/video-watch/nrms/trades 2026.5/video-watch/nrms/none
      recgauntlet compare 2026.5/news-click/nrms/trades 2026.5/news-click/nrms/freelb --tier low --tier high --json
    """
    from recgauntlet.core.escape import terminal
    from recgauntlet.leaderboard import compare as rows
    from recgauntlet.leaderboard.address import locate_rows

    found = rows.compare(*locate_rows(a, b), threats=threats, tiers=tiers or (RANKING_TIER,))
    if as_json:
        click.echo(json.dumps(_content(found), indent=1))
        return
    for caution in found.cautions:
        click.echo(f"note: {terminal(caution)}")
    _print_table(found)
    click.echo()
    for line in found.differences:
        click.echo(terminal(rows.sentence(found, line)))
    if found.a.row.rank_range and found.b.row.rank_range:
        click.echo(f"Among all ranked rows of the task: A has {_place(found.a.row)}; B has {_place(found.b.row)}.")
    seeds = "one seed" if len(found.seeds) == 1 else f"{len(found.seeds)} seeds"
    click.echo(f"{found.examples:,} test examples ({found.examples // 2:,} pairs), {seeds}. Differences are A - B.")


def _print_table(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from recgauntlet.core.escape import shortened, terminal

    headings = ("A, %", "B, %", "A - B, points", "95 %", "p", "p (models)", "p (trainings)")
    columns = [Column("", no_wrap=True), *(Column(each, justify="right", no_wrap=True) for each in headings)]
    table = Table(*columns, box=None, pad_edge=False)
    for line in found.differences:
        threat, tier = shortened(line.quantity.threat, 40), shown("tier", line.quantity.tier)
        name = f"{threat} {tier}" if threat else "clean"
        low, high = 100 * line.difference.low, 100 * line.difference.high
        table.add_row(
            terminal(name),
            f"{100 * line.a:.1f}",
            f"{100 * line.b:.1f}",
            f"{100 * line.difference.value:+.1f}",
            f"{low:+.1f} to {high:+.1f}",
            _p(line.p, 3),
            _p(line.holm_models),
            _p(line.holm_trainings),
        )
    Console(highlight=False, width=200, markup=False).print(table)


def _place(row: Row) -> str:
    """The rank of a row with its range over the bootstrap's draws."""
    place = row.rank_range
    assert place is not None  # a ranked row has one
    return f"rank {row.rank} (range {place}, best in {place.best_percent} % of the draws)"


def _p(value: float | None, digits: int = 4) -> str:
    """A p value, to as many digits as its draws give."""
    least = 10.0**-digits
    return "" if value is None else f"< {least:.{digits}f}" if value < least else f"{value:.{digits}f}"


def _content(found: Comparison) -> dict[str, Any]:
    def row(at: RowAt) -> dict[str, Any]:
        return {
            "address": at.address,
            "anchor": at.anchor,
            "release_sha256": at.board.digest,
            "frozen": at.board.frozen,
            "model": at.row.model.key.model_dump(),
            "defense": at.row.defense.key.model_dump(),
            "rank": at.row.rank,
            "rank_low": at.row.rank_range and at.row.rank_range.low,
            "rank_high": at.row.rank_range and at.row.rank_range.high,
            "p_best": at.row.rank_range and at.row.rank_range.best,
            "records": [source.digest for source in at.row.sources],
        }

    return {
        "a": row(found.a),
        "b": row(found.b),
        "task": found.a.table.task,
        "track": found.a.table.track,
        "suite": found.a.table.suite.model_dump(),
        "examples": found.examples,
        "seeds": list(found.seeds),
        "cautions": list(found.cautions),
        "differences": [
            {
                "quantity": "robust_accuracy" if line.quantity.threat else "clean_accuracy",
                "threat": line.quantity.threat or None,
                "tier": line.quantity.tier if line.quantity.threat else None,
                "a": line.a,
                "b": line.b,
                "difference": line.difference.value,
                "low": line.difference.low,
                "high": line.difference.high,
                "p": line.p,
                "told_apart": line.told_apart,
                "p_models": line.p_models,
                "p_models_holm": line.holm_models,
                "p_trainings": line.p_trainings,
                "p_trainings_holm": line.holm_trainings,
            }
            for line in found.differences
        ],
    }
