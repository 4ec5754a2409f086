"""The table at the end of `recgauntlet run` and `submit`: every row beside its undefended twin."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from recgauntlet.cli.progress import duration
from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.escape import visible
from recgauntlet.core.names import shown
from recgauntlet.core.spec import TWIN
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.paired import Quantity, beside, quantities, twin_of
from recgauntlet.leaderboard.paper_table import options_apart
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.records.schema import RunRecord


def print_results(console: Console, records: Sequence[RunRecord]) -> None:
    """The rows that `records` make on the board: accuracies in percent, in brackets the points above or below the
    undefended twin over the seeds of both; the time of one training, and its FLOPs as a multiple of the twin's. Below
    stand the rows' flags."""
    for table in build_table(records):
        if not table.rows:
            continue
        headings = ("model", "defense", "seeds", *(each.threat or "clean" for each in quantities(table)), "training")
        width = {
            "defense": len(shown("defense", TWIN))
        }  # of a table that is narrow, the word that every run has is whole
        columns = (Column(visible(each), overflow="fold", min_width=width.get(each)) for each in (*headings, "FLOPs"))
        grid = Table(*columns, box=None, pad_edge=False)
        rows = sorted(table.rows, key=lambda row: (row.model.name, twin_of(table, row) is not None))
        for row in rows:
            grid.add_row(*(escape(visible(text)) for text in _cells(table, row)))
        head = (
            f"{table.task} ({table.track}): accuracy on {table.examples} test examples in %, under threats at the "
            f"{shown('tier', RANKING_TIER)} tier; in brackets: points above or below the undefended twin"
        )
        console.print("\n" + visible(head), markup=False, style="bold", soft_wrap=True)
        console.print(grid)
        for row in rows:
            if flags := [flag.title for flag in row.flags if flag.kind != "few-seeds"]:
                line = f"flags of {row.model.name} {shown('defense', row.defense.name)}: {'; '.join(flags)}"
                console.print(visible(line), markup=False, soft_wrap=True)


def _cells(table: TaskTable, row: Row) -> list[str]:
    twin = twin_of(table, row)
    accuracies = []
    for quantity in quantities(table):
        both = None if twin is None else beside(row, twin, quantity)
        against = "" if both is None else f" ({100 * (both[0] - both[1]):+.1f})"
        accuracies.append(_percent(row, quantity) + against)
    ratio = "" if row.cost.flops_ratio is None else f"{row.cost.flops_ratio:.2f} x"
    defense = " ".join([shown("defense", row.defense.name), *options_apart(row, table)])
    seeds = ",".join(map(str, row.seeds))
    return [row.model.name, defense, seeds, *accuracies, duration(row.cost.training_seconds), ratio]


def _percent(row: Row, quantity: Quantity) -> str:
    cell = row.at(quantity.threat, quantity.tier)
    found = row.clean if not quantity.threat else cell.robust if cell is not None else None
    return "not read" if found is None else f"{100 * found.value:.1f}"
