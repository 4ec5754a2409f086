"""The page of a row: every number of its records, and how to run and cite it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.leaderboard.address import RowAt, Scope
from recgauntlet.leaderboard.citation import cite
from recgauntlet.leaderboard.compare import twin_of
from recgauntlet.leaderboard.schema import CurvePoint, Row, Source, TaskTable
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.curves import axis
from recgauntlet_site.format import percent
from recgauntlet_site.jinja_environment import rendered
from recgauntlet_site.pages.method import Key, MethodPage, key_of
from recgauntlet_site.pages.task import TaskPage

LEFT, RIGHT, BOTTOM = 38, 306, 110
"""The edges of a curve's plot; one unit of height is one per cent of accuracy."""


@dataclass(frozen=True)
class Curve:
    """The security curve of a row under one threat: its points with their budgets, and where these are drawn.

    `xs`, `lows`, `values` and `highs` are coordinates in an SVG of 320 by 130.
    """

    threat: str
    axis: str
    description: str
    points: tuple[CurvePoint, ...]
    budgets: tuple[float, ...]
    xs: tuple[float, ...]
    lows: tuple[float, ...]
    values: tuple[float, ...]
    highs: tuple[float, ...]


@dataclass(frozen=True)
class SeedLine:
    """One seed of a row: its clean accuracy, its robust accuracy under each threat of the table, and its record."""

    seed: int
    clean: float
    robust: tuple[float | None, ...]
    source: Source
    record: RunRecord


def row_page(common: Mapping[str, Any], task: TaskPage, at: RowAt, methods: Mapping[Key, MethodPage]) -> bytes:
    """The page of a row; `methods` are the pages of all models and defenses."""
    table, row = at.table, at.row
    twin = twin_of(table, row)
    records = at.records
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
        methods=[methods[key_of(row, kind)] for kind in ("model", "defense")],
        curves=list(_curves(table, row)),
        seeds=list(_seed_lines(table, row, records)),
        environment=_environment_of(records),
        command=_command(table, row),
        bibtex="\n".join(map(str, citation.entries)),
    )


def _curves(table: TaskTable, row: Row) -> Iterator[Curve]:
    for column in table.threats:
        cells = row.under(column.id)
        if cells is None or not cells.curve:
            continue
        by_characters = not any(point.amount for point in cells.curve)
        budgets = tuple(float(point.characters if by_characters else point.amount) for point in cells.curve)
        shares = [point.accuracy for point in cells.curve]
        yield Curve(
            column.id,
            axis(column, by_characters),
            f"Accuracy under {column.id} falls from {percent(shares[0].value)} % to {percent(shares[-1].value)} % "
            "as the budget grows.",
            cells.curve,
            budgets,
            tuple(LEFT + (RIGHT - LEFT) * budget / (max(budgets) or 1.0) for budget in budgets),
            *(tuple(BOTTOM - 100 * getattr(share, end) for share in shares) for end in ("low", "value", "high")),
        )


def _seed_lines(table: TaskTable, row: Row, records: Sequence[RunRecord]) -> Iterator[SeedLine]:
    for place, (source, record) in enumerate(zip(row.sources, records, strict=True)):
        cells = [row.under(column.id) for column in table.threats]
        at_rank = [under.at(RANKING_TIER) if under else None for under in cells]
        robust = tuple(None if cell is None else cell.by_seed[place] for cell in at_rank)
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


def _command(table: TaskTable, row: Row) -> str:
    """The command that runs the row's cells again."""
    parts = ["recgauntlet", "run", "--task", table.task, "--track", table.track]
    parts += ["--model", row.model.name, "--defense", row.defense.name]
    for option, plugin in (("--model-option", row.model), ("--defense-option", row.defense)):
        for name, value in sorted(plugin.hyperparameters.items()):
            parts += [option, f"{name}={value}"]
    return shlex.join([*parts, "--seeds", ",".join(map(str, row.seeds)), "--out", "results/again"])
