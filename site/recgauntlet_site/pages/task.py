"""The page of one table: its columns and filters, its figures, and examples of attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from recgauntlet.core.card import TaskCard
from recgauntlet.leaderboard.address import row_anchor, slug
from recgauntlet.leaderboard.build import apart
from recgauntlet.leaderboard.citation import own_card
from recgauntlet.leaderboard.flags import Flag
from recgauntlet.leaderboard.paper_table import options_apart
from recgauntlet.leaderboard.schema import Row, TaskTable, ThreatCells, ThreatColumn
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.columns import Column, columns_of
from recgauntlet_site.figures import SERIES, CurveGrid, Figure, SavedFigure, curve_grid, drawers, saved
from recgauntlet_site.format import distinct, row_name, visible
from recgauntlet_site.pages.examples import Example, examples_of
from recgauntlet_site.pages.reproduce import commands_of

Cards = Callable[[TaskTable], TaskCard | None]
"""Finds the card of a table's task; None where the task is not installed in the version of the records."""
_Drawer = Callable[[], Figure | None]
Mapper = Callable[[Callable[[_Drawer], SavedFigure | None], Iterable[_Drawer]], Iterable[SavedFigure | None]]
"""Applies a function to each item: `map`, or that of an executor, which has the results when they are read."""
_RowCells = list[tuple[Row, ThreatCells]]


class OtherTable(NamedTuple):
    """Another table of the same task and track: its anchor on the start page, the path of its page, and why the two
    are not one ranking."""

    anchor: str
    path: str
    reasons: str


@dataclass(frozen=True)
class TaskPage:
    """A table and what its page shows beside it. `anchor` identifies the table in paths and on the start page."""

    anchor: str
    table: TaskTable
    card: TaskCard | None
    drawn: Iterable[SavedFigure | None]
    examples: Sequence[Example] = ()
    others: Sequence[OtherTable] = ()
    own: bool = False
    """Whether the card is a user's own, which the records have."""
    submitted: Mapping[str, str] = field(default_factory=dict)
    """By the digest of a record the submission that it came with."""

    @property
    def path(self) -> str:
        """The path of the page."""
        return f"tasks/{self.anchor}.html"

    @property
    def downloads(self) -> str:
        """The path of the table's files, without their ending."""
        return f"downloads/{self.anchor}"

    @property
    def title(self) -> str:
        """The title of the task's card, else the task's id."""
        return self.card.title if self.card else self.table.task

    @property
    def argument(self) -> str:
        """The value of --task: the task's id, or the name of the file that has a user's own card."""
        return f"{self.table.task}.toml" if self.own else self.table.task

    @property
    def card_file(self) -> str:
        """The path of a user's own card."""
        return f"cards/{self.anchor}.toml"

    @property
    def commands(self) -> list[str]:
        """The commands that run the cells of all rows again."""
        return commands_of(self.argument, self.table)

    @property
    def cells(self) -> int:
        """The number of cells of the rows."""
        return sum(len(row.seeds) for row in self.table.rows)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of the table between the names and the flags."""
        return columns_of(self.table, self.submitted)

    @property
    def column_groups(self) -> list[tuple[str, list[Column]]]:
        """The columns by the group in which a reader chooses them."""
        order = list(dict.fromkeys(column.group for column in self.columns))
        return [(group, [column for column in self.columns if column.group == group]) for group in order]

    @property
    def sort_keys(self) -> list[tuple[str, str]]:
        """The keys and titles of the columns by which a phone, which shows no column heads, sorts the rows."""
        return [(column.key, f"{column.head} {column.note}".strip()) for column in self.columns if column.shown]

    def anchor_of(self, row: Row) -> str:
        """The permanent anchor of a row of the table."""
        return row_anchor(self.table, row)

    def row_path(self, row: Row) -> str:
        """The path of the row's page."""
        return f"rows/{self.anchor_of(row)}.html"

    def options_of(self, row: Row) -> list[str]:
        """The options that distinguish the row from others with the same model and defense."""
        return options_apart(row, self.table)

    @property
    def several_ranked(self) -> bool:
        """Whether rows may be ranked by different threats."""
        return sum(column.ranked for column in self.table.threats) > 1

    @cached_property
    def figures(self) -> tuple[SavedFigure, ...]:
        """All figures of the table; waits for those that are still being drawn."""
        return tuple(figure for figure in self.drawn if figure is not None)

    @property
    def curves(self) -> list[SavedFigure]:
        """The security curves."""
        return [figure for figure in self.figures if figure.kind == "security-curves"]

    @property
    def plots(self) -> list[SavedFigure]:
        """All figures but the security curves."""
        return [figure for figure in self.figures if figure.kind != "security-curves"]

    @cached_property
    def grids(self) -> list[CurveGrid]:
        """The points of the security curves, for each threat that has curves."""
        found = (curve_grid(self.table, column) for column in self.table.threats)
        return [grid for grid in found if grid.curves]

    @property
    def curve_data(self) -> dict[str, Any]:
        """The security curves for the plot that can be zoomed: accuracies in per cent by threat and row."""
        threats = []
        for grid in self.grids:
            rows = {}
            for row, points in grid.curves:
                at = [points.get(budget) for budget in grid.budgets]
                rows[self.anchor_of(row)] = [point and round(100 * point.accuracy.value, 2) for point in at]
            threats.append({"axis": grid.axis, "amounts": [grid.x(budget) for budget in grid.budgets], "rows": rows})
        names = {self.anchor_of(row): visible(row_name(row)) for row in self.table.rows}
        return {"threats": threats, "names": names, "colours": SERIES}

    @property
    def ranked_lists(self) -> list[tuple[ThreatColumn, _RowCells]]:
        """The threats under which rankings or exposure were measured, each with the rows that have them."""
        return self._having(lambda cells: cells.ranking is not None or cells.promotion is not None)

    @property
    def promoted(self) -> bool:
        """Whether any row has exposure."""
        return any(cells.promotion is not None for row in self.table.rows for cells in row.threats)

    @property
    def with_ads(self) -> list[Row]:
        """The rows whose lists had simulated ads."""
        return [row for row in self.table.rows if row.ads is not None]

    @property
    def poisoned(self) -> list[Row]:
        """The rows whose training data was, or could have been, attacked."""
        return [row for row in self.table.rows if row.poisoning]

    @property
    def ablations(self) -> list[tuple[ThreatColumn, _RowCells]]:
        """The threats whose attacks were run one by one, each with the rows that have them."""
        return self._having(lambda cells: bool(cells.ablation))

    @property
    def natural(self) -> list[tuple[ThreatColumn, _RowCells]]:
        """The threats whose edits of texts were counted, each with the rows that have them."""
        return self._having(lambda cells: cells.naturalness is not None)

    def _having(self, wanted: Callable[[ThreatCells], bool]) -> list[tuple[ThreatColumn, _RowCells]]:
        found = []
        for column in self.table.threats:
            rows = [(row, c) for row in self.table.rows if (c := row.under(column.id)) is not None and wanted(c)]
            if rows:
                found.append((column, rows))
        return found

    @cached_property
    def flag_sets(self) -> dict[tuple[Flag, ...], str]:
        """The flags of rows, each set once, with the id of its explanation."""
        sets = dict.fromkeys(row.flags for row in self.table.rows if row.flags)
        return {flags: f"{self.anchor}-flags{number}" for number, flags in enumerate(sets)}

    @cached_property
    def shared(self) -> frozenset[int]:
        """The ranks that more than one row has."""
        ranks = [row.rank for row in self.table.rows if row.rank is not None]
        return frozenset(rank for rank in ranks if ranks.count(rank) > 1)


def task_pages(
    tables: Sequence[TaskTable],
    cards: Cards,
    records: Mapping[str, RunRecord],
    draw: Mapper = map,
    *,
    submitted: Mapping[str, str] | None = None,
) -> list[TaskPage]:
    """A page for each table; `records` by their digests, and by these the submissions that records came with. Figures
    are drawn by `draw`."""
    anchors = distinct([f"{slug(table.task)}-{table.track}" for table in tables])
    pages = []
    for table, anchor in zip(tables, anchors, strict=True):
        installed = cards(table)
        own = None if installed else own_card(table, records.values())
        others = [OtherTable(anchors[n], f"tasks/{anchors[n]}.html", "; ".join(why)) for n, why in apart(table, tables)]
        drawn = draw(saved, drawers(table, prefix=anchor))
        examples = examples_of(table, records)
        is_own = own is not None
        pages.append(TaskPage(anchor, table, installed or own, drawn, examples, others, is_own, submitted or {}))
    return pages
