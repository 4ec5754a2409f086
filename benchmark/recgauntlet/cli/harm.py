"""`recgauntlet harm`: how far up attacks push items that the user names."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recgauntlet.cli.options import PATH, DataOptions, TierName, data_options, device_option, threads_option
from recgauntlet.cli.progress import with_bar
from recgauntlet.cli.results_place import weights_of
from recgauntlet.core.card import Tier
from recgauntlet.core.errors import DataError
from recgauntlet.core.escape import shortened, terminal
from recgauntlet.core.files import write_atomically
from recgauntlet.core.names import shown
from recgauntlet.evaluation.harm import TOP, HarmCheck, Pushed
from recgauntlet.metrics.ranking import Floats
from recgauntlet.records.io import read_record
from recgauntlet.runner.harm import Harm, Named, run_harm_check
from recgauntlet.runner.trained import Setup

_TEXT_WIDTH = 60


@click.command(short_help="How far up attacks push items that you name.")
@click.argument("trained", metavar="RECORD|CHECKPOINT", type=PATH)
@click.option("--items", type=PATH, help="A file with ids of items, one a line.")
@click.option("--category", help="All items of this category of the catalog.")
@click.option("--most", type=click.IntRange(1), default=50, help="Items at most; of more, so many are drawn.")
@click.option("--threat", help="A threat to texts. [every ranked one]")
@click.option("--tier", type=TierName(), default="medium", help="The tier that items are printed one by one for.")
@click.option("--out", type=PATH, help="Write all tiers, item by item, as JSON too.")
@click.option("--task", help="The task, or the path of your own card. [what the model was trained for]")
@device_option
@threads_option
@data_options
def harm(
    trained: Path,
    items: Path | None,
    category: str | None,
    most: int,
    threat: str | None,
    tier: Tier,
    out: Path | None,
    task: str | None,
    device: str,
    threads: int,
    data: DataOptions,
) -> None:
    """Check how far up in users' lists attacks on their texts push the items that you name.

    The model is that of RECORD (a JSON file of recgauntlet run, its weights beside it) or in CHECKPOINT (a .safetensors
    file). Name the items by --items or --category: those that would do harm if everybody saw them. Each gets one text
    for all users, inside the budget of each tier; it is searched on some users and measured on others. Texts in the
    file of --out are left out for data that may not be redistributed. See docs/results/explaining.md.

    \b
    Examples:
      recgauntlet harm demo/ecommerce-purchase/demo/nrms-standard-0.json --category KNIVES
      recgauntlet harm demo/checkpoints/news-click/demo/nrms-pgd-0.safetensors --items worrying.txt --out harm.json
    """
    if (items is None) == (category is None):
        raise click.UsageError("give --items FILE or --category NAME")
    console = Console(highlight=False)
    named = Named(() if items is None else _ids(items), category, most)
    is_checkpoint = trained.suffix == ".safetensors"
    record = None if is_checkpoint else read_record(trained)
    weights = trained if is_checkpoint else weights_of(trained, None)
    setup = Setup(data.sources(), task, device, threads)
    found = with_bar(
        console, lambda report: run_harm_check(weights, setup, named, record=record, threat=threat, progress=report)
    )
    for check in found.checks:
        _print(console, found, check, tier)
    if out is not None:
        write_atomically(out, (json.dumps(found.content(), indent=1, allow_nan=False) + "\n").encode())
        without = "" if found.redistributable else ", without texts: the data may not be redistributed"
        _line(console, f"harm check written to {out}{without}")


def _ids(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise DataError("cannot be read", where=path, field="--items", remedy="name a text file in UTF-8") from error
    return tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))


def _line(console: Console, text: str) -> None:
    console.print(terminal(text), markup=False, soft_wrap=True)


def _print(console: Console, found: Harm, check: HarmCheck, tier: Tier) -> None:
    console.print(terminal(f"{found.title}: {check.threat}"), markup=False, style="bold", soft_wrap=True)
    drawn = "" if found.named == len(check.items) else f", drawn from {found.named}"
    rivals = "all items that a user never took" if check.rivals is None else f"{check.rivals} other items"
    _line(console, f"{len(check.items)} items{drawn}; ranks among {rivals}, in the lists of {check.users} users")
    columns = ("tier", "mean rank", "attacked", f"in the top {TOP}", "attacked")
    table = Table(*columns, box=None, pad_edge=False)
    for pushed in check.pushed:
        table.add_row(shown("tier", pushed.tier), *_ranks(pushed.before, pushed.after))
    console.print(table)
    (chosen,) = (pushed for pushed in check.pushed if pushed.tier == tier)
    _print_words(console, chosen)
    each = Table(
        "item", "mean rank", "attacked", f"top {TOP}", "attacked", "text that was found", box=None, pad_edge=False
    )
    for item, text, before, after in zip(check.items, chosen.texts, chosen.before, chosen.after, strict=True):
        changed = "none does better" if text == found.catalog.texts[item] else shortened(terminal(text), _TEXT_WIDTH)
        each.add_row(escape(terminal(found.catalog.ids[item])), *_ranks(before, after), escape(changed))
    console.print(each)


def _print_words(console: Console, pushed: Pushed) -> None:
    before, after = pushed.before, pushed.after
    _line(
        console,
        f"At the {shown('tier', pushed.tier)} tier one text an item moves it from rank {before.mean():.1f} to "
        f"{after.mean():.1f} in the mean, and from {(before <= TOP).mean():.1%} to {(after <= TOP).mean():.1%} of the "
        f"users' top {TOP}.",
    )


def _ranks(before: Floats, after: Floats) -> tuple[str, ...]:
    return (
        f"{before.mean():.1f}",
        f"{after.mean():.1f}",
        f"{(before <= TOP).mean():.1%}",
        f"{(after <= TOP).mean():.1%}",
    )
