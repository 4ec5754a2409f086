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
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.paired import Quantity, beside, quantities, twin_of
from recgauntlet.leaderboard.paper_table import options_apart
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.records.schema import RunRecord

METHOD_WIDTH = 16
"""Characters that a method's column has at least."""


def print_results(console: Console, records: Sequence[RunRecord]) -> None:
    """The rows that `records` make on the board, each as a column, as many beside each other as fit: accuracies in
    percent, in brackets the points above or below the undefended twin over the seeds of both; the time of one training,
    and its FLOPs as a multiple of the twin's. Below stand the rows' flags."""
    for table in build_table(records):
        if not table.rows:
            continue
        head = (
            f"{table.task} ({table.track}): accuracy on {table.examples} test examples in %, under threats at the "
            f"{shown('tier', RANKING_TIER)} tier; in brackets: points above or below the undefended twin"
        )
        console.print("\n" + visible(head), markup=False, style="bold", soft_wrap=True)
        poisoned = list(dict.fromkeys(one.threat for row in table.rows for one in row.poisoning))
        accuracies = (each.threat or "clean" for each in quantities(table))
        labels = ("seeds", *accuracies, *poisoned, "training", "FLOPs")
        rows = sorted(table.rows, key=lambda row: (row.model.name, twin_of(table, row) is not None))
        beside_each_other = max(1, (console.width - max(map(len, labels))) // (METHOD_WIDTH + 2))
        for start in range(0, len(rows), beside_each_other):
            some = rows[start : start + beside_each_other]
            grid = Table(Column("method", no_wrap=True), box=None, pad_edge=False)
            for row in some:
                grid.add_column(escape(visible(_method(table, row))), overflow="fold", min_width=METHOD_WIDTH)
            for label, *cells in zip(labels, *(_cells(table, row, poisoned) for row in some), strict=True):
                grid.add_row(*(escape(visible(text)) for text in (label, *cells)))
            console.print(grid, "")
        for row in rows:
            own = (*row.flags, *(flag for one in row.poisoning for flag in one.flags))
            if flags := [flag.title for flag in own if flag.kind != "few-seeds"]:
                line = f"flags of {row.model.name} {shown('defense', row.defense.name)}: {'; '.join(flags)}"
                console.print(visible(line), markup=False, soft_wrap=True)


def _method(table: TaskTable, row: Row) -> str:
    return " ".join([row.model.name, shown("defense", row.defense.name), *options_apart(row, table)])


def _cells(table: TaskTable, row: Row, poisoned: Sequence[str]) -> list[str]:
    twin = twin_of(table, row)
    accuracies = []
    for quantity in quantities(table):
        both = None if twin is None else beside(row, twin, quantity)
        against = "" if both is None else f" ({100 * (both[0] - both[1]):+.1f})"
        accuracies.append(_percent(row, quantity) + against)
    ratio = "" if row.cost.flops_ratio is None else f"{row.cost.flops_ratio:.2f} x"
    accuracies += [_poisoned(row, threat) for threat in poisoned]
    return [",".join(map(str, row.seeds)), *accuracies, duration(row.cost.training_seconds), ratio]


def _poisoned(row: Row, threat: str) -> str:
    """Robust accuracy under an attack on training data."""
    one = next((one for one in row.poisoning if one.threat == threat), None)
    at = None if one is None else one.at()
    if at is None:
        return "not run"
    return f"{100 * at.robust.value:.1f}"


def _percent(row: Row, quantity: Quantity) -> str:
    cell = row.at(quantity.threat, quantity.tier)
    found = row.clean if not quantity.threat else cell.robust if cell is not None else None
    return "not read" if found is None else f"{100 * found.value:.1f}"
