"""The page of a row: every number of its records, and how to run and cite it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from recgauntlet.leaderboard.address import RowAt, Scope
from recgauntlet.leaderboard.citation import cite
from recgauntlet.leaderboard.paired import twin_of
from recgauntlet.leaderboard.schema import Row, Source, TaskTable
from recgauntlet.records.explanations import ExplainedDecision
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.jinja_environment import rendered
from recgauntlet_site.pages.explanations import explanation_views
from recgauntlet_site.pages.groups import group_tables
from recgauntlet_site.pages.method import Key, MethodPage, pages_of
from recgauntlet_site.pages.reproduce import command_of
from recgauntlet_site.pages.task import TaskPage


class SeedLine(NamedTuple):
    """One seed of a row: its clean accuracy, its robust accuracy under each threat of the table, and its record."""

    seed: int
    clean: float
    robust: tuple[float | None, ...]
    source: Source
    record: RunRecord


def row_page(
    common: Mapping[str, Any],
    task: TaskPage,
    at: RowAt,
    methods: Mapping[Key, MethodPage],
    explanations: Mapping[str, ExplainedDecision],
) -> bytes:
    """The page of a row; `methods` are the pages of all models and defenses, `explanations` those of all rows by the
    paths of their files."""
    explained, further = explanation_views(at.records, explanations)
    table, row = at.table, at.row
    twin = twin_of(table, row)
    citation = cite(Scope(at.board, (at,), at))
    return rendered(
        "row.html.j2",
        common,
        root="../",
        here=task.row_path(row),
        task=task,
        row=row,
        sentence=citation.rows[0].sentence,
        twin_path="" if twin is None else task.row_path(twin),
        methods=pages_of(row, methods),
        curves=[(grid, points) for grid in task.grids for other, points in grid.curves if other is row],
        natural=[(c, cells) for c in table.threats if (cells := row.under(c.id)) and cells.naturalness],
        groups=group_tables(row),
        explained=explained,
        further_explanations=further,
        seeds=list(_seed_lines(table, row, at.records)),
        environment=_environment_of(at.records),
        command=command_of(task.argument, table, [row]),
        bibtex="\n".join(map(str, citation.entries)),
    )


def _seed_lines(table: TaskTable, row: Row, records: Sequence[RunRecord]) -> Iterator[SeedLine]:
    cells = [row.at(column.id) for column in table.threats]
    for place, (source, record) in enumerate(zip(row.sources, records, strict=True)):
        robust = tuple(None if cell is None else cell.by_seed[place] for cell in cells)
        yield SeedLine(source.seed, row.clean_by_seed[place], robust, source, record)


def _environment_of(records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """The hardware and software of the runs, each value once."""
    found = [record.environment for record in records]
    lines = {
        "Processor": [f"{e.processor}, {e.platform}" for e in found],
        "Precision": [f"{e.precision}, {e.threads} thread{'s' if e.threads > 1 else ''}" for e in found],
        "Software": [f"Python {e.python}, torch {e.torch}, transformers {e.transformers}" for e in found],
    }
    return [(name, "; ".join(dict.fromkeys(values))) for name, values in lines.items()]
