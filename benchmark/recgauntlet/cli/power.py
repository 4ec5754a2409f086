"""`recgauntlet power`: how many examples and seeds a difference needs."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import click

from recgauntlet.cli.options import TierName
from recgauntlet.cli.options import seeds as numbers
from recgauntlet.core.card import Tier

if TYPE_CHECKING:
    from recgauntlet.metrics.power import Need
    from recgauntlet.metrics.significance import Components


@click.command(short_help="How many examples and seeds a difference needs.")
@click.option(
    "--difference", type=click.FloatRange(0, 100, min_open=True), required=True, help="In points: 2.0 is 2 %."
)
@click.option("--from", "a", help="A row, RELEASE/TASK/MODEL/DEFENSE, to learn the variances from; needs --to.")
@click.option("--to", "b", help="The row it is compared with.")
@click.option("--threat", help="The threat whose outcomes vary so. [the one that --from is ranked by]")
@click.option("--tier", type=TierName(), default="medium")
@click.option("--power", "wanted", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.8)
@click.option("--alpha", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.05)
@click.option("--comparisons", type=click.IntRange(1), default=1, help="Tests in one family.")
@click.option("--seeds", default="1,3,5,10", callback=numbers, help="Numbers of trainings of each row.")
@click.option(
    "--discordant",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.2,
    help="Assumed without rows: the share of examples on which the two rows disagree.",
)
@click.option(
    "--shared",
    type=click.FloatRange(0, 1),
    default=0.5,
    help="Assumed without rows: the part of that which is the same in every training.",
)
@click.option(
    "--seed-sd",
    type=click.FloatRange(0),
    default=1.0,
    help="Assumed without rows: how the difference varies between trainings, in points.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def power(
    difference: float,
    a: str | None,
    b: str | None,
    threat: str | None,
    tier: Tier,
    wanted: float,
    alpha: float,
    comparisons: int,
    seeds: tuple[int, ...],
    discordant: float,
    shared: float,
    seed_sd: float,
    as_json: bool,
) -> None:
    """Print how many test examples and seeds are needed to see a difference between two rows.

    Variances (between trainings, between test pairs, and the rest) come from two rows of a release that are like those
    you mean to compare, else from what you assume. The test is that of `recgauntlet compare`. More examples do not help
    where trainings differ more than the rows do: then only more seeds do. One seed tells two trained models apart, not
    two ways of training. For several comparisons the level is divided by their number, which is a little strict.

    \b
    Examples:
      recgauntlet power --difference 2.0
      recgauntlet power --difference 2.0 --from 2026.5/video-watch/nrms/trades --to 2026.5/video-watch/nrms/none
    """
    from recgauntlet.metrics.power import assumed, needs

    present: int | None = None
    if (a is None) != (b is None):
        raise click.UsageError("give both --from and --to, or neither")
    if 0 in seeds:
        raise click.UsageError("--seeds: give numbers of trainings, from 1")
    if a is not None and b is not None:
        parts, present, source = _measured(a, b, threat, tier)
    else:
        if threat is not None:
            raise click.UsageError("--threat needs rows: give --from and --to")
        parts = assumed(discordant=discordant, shared=shared, seed_sd=seed_sd / 100)
        source = (
            f"assumed: the rows disagree on {discordant:.0%} of the examples, {shared:.0%} of that in every training; "
            f"the difference varies by {seed_sd:g} points between trainings"
        )
    level = alpha / comparisons
    found = needs(parts, difference=difference / 100, power=wanted, alpha=level, seeds=seeds, present=present)
    if as_json:
        asked = {"difference_points": difference, "power": wanted, "alpha": alpha, "comparisons": comparisons}
        click.echo(json.dumps(asked | _content(found, parts, source, present), indent=1))
        return
    click.echo(f"variances {source}")
    click.echo(
        f"standard deviations, points: {100 * math.sqrt(parts.training):.2f} between trainings, "
        f"{100 * math.sqrt(parts.pairs):.1f} between pairs, {100 * math.sqrt(parts.rest):.1f} the rest"
    )
    click.echo(
        f"to find a difference of {difference:g} points with a power of {wanted:g} at a level of {alpha:g}"
        + (f" / {comparisons} comparisons" if comparisons > 1 else "")
    )
    click.echo()
    _print_table(found, present)
    if 1 in seeds:
        click.echo()
        click.echo("One seed compares these two trained models only; it is no evidence about other trainings.")


def _measured(a: str, b: str, threat: str | None, tier: Tier) -> tuple[Components, int, str]:
    """The variances of the difference of two rows, their number of test pairs, and where all that is from."""
    from recgauntlet.core.errors import RecordError
    from recgauntlet.core.escape import terminal
    from recgauntlet.leaderboard.address import locate_rows
    from recgauntlet.leaderboard.compare import check_comparable
    from recgauntlet.leaderboard.paired import Quantity, paired
    from recgauntlet.metrics.significance import components

    first, second = locate_rows(a, b)
    check_comparable(first, second)
    quantity = Quantity(threat if threat is not None else first.row.worst or "", tier)
    lines = paired(first.records, second.records, [quantity])
    if not lines or len(lines[0].seeds) < 2:
        raise RecordError(
            f"the rows have no two common seeds with a result of {quantity.words}",
            where=f"{a} and {b}",
            remedy="choose another --threat or --tier, or rows with more seeds; or leave --from and --to out",
        )
    found = lines[0].bits
    source = (
        f"from {len(found)} seeds and {found.shape[1]:,} pairs of {first.address} and {second.address}, "
        f"{quantity.words}; a variance between so few trainings is itself a guess"
    )
    return components(found), found.shape[1], terminal(source)


def _print_table(found: tuple[Need, ...], present: int | None) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    headings = ["seeds", "test pairs", "test examples", *([f"power with {present:,} pairs"] if present else [])]
    table = Table(*(Column(heading, justify="right") for heading in headings), box=None, pad_edge=False)
    for need in found:
        cells = ["never", "never"] if need.pairs is None else [f"{need.pairs:,}", f"{2 * need.pairs:,}"]
        now = [] if need.power_at_present is None else [f"{need.power_at_present:.2f}"]
        table.add_row(str(need.seeds), *cells, *now)
    Console(highlight=False, markup=False).print(table)


def _content(found: tuple[Need, ...], parts: Components, source: str, present: int | None) -> dict[str, object]:
    return {
        "variances": {"source": source, "training": parts.training, "pairs": parts.pairs, "rest": parts.rest},
        "present_pairs": present,
        "needs": [
            {
                "seeds": need.seeds,
                "pairs": need.pairs,
                "examples": None if need.pairs is None else 2 * need.pairs,
                "power_at_present": need.power_at_present,
            }
            for need in found
        ],
    }
