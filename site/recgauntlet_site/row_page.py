"""The page of a row: everything that its records say."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.leaderboard.address import RowAt, Scope
from recgauntlet.leaderboard.citation import cite
from recgauntlet.leaderboard.paired import twin_of
from recgauntlet.leaderboard.schema import CurvePoint, Row, Source, TaskTable
from recgauntlet.records.schema import RunRecord
from recgauntlet_site import words
from recgauntlet_site.methods import Key, MethodPage, key_of
from recgauntlet_site.pictures.security_curves import axis
from recgauntlet_site.rendering import rendered
from recgauntlet_site.sections import Section

_GRID = "".join(
    f'<line class="stroke-faint grid" x1="34" x2="312" y1="{110 - y}" y2="{110 - y}"/>'
    f'<text class="fill-faint" x="28" y="{113 - y}" text-anchor="end" font-size="9">{y}</text>\n'
    for y in (0, 25, 50, 75, 100)
)


@dataclass(frozen=True)
class Curve:
    """The security curve of a row: its points with their labels, and a drawing of 320 by 130."""

    threat: str
    axis: str
    description: str
    points: tuple[CurvePoint, ...]
    labels: tuple[str, ...]
    drawing: Markup


@dataclass(frozen=True)
class SeedLine:
    """One seed of a row: its clean accuracy, its robust accuracy under each threat of the table, and its record."""

    seed: int
    clean: float
    robust: tuple[float | None, ...]
    source: Source
    record: RunRecord


def row_page(common: Mapping[str, Any], section: Section, at: RowAt, methods: Mapping[Key, MethodPage]) -> bytes:
    """The page of a row; `methods` are the pages of all models and defenses."""
    table, row = at.table, at.row
    twin = twin_of(table, row)
    records = at.records
    citation = cite(Scope(at.board, (at,), at))
    return rendered(
        "row.html.j2",
        common,
        root="../",
        here=section.row_path(row),
        section=section,
        row=row,
        sentence=citation.rows[0].sentence,
        twin_path="" if twin is None else section.row_path(twin),
        methods=[methods[key_of(row, kind)] for kind in ("model", "defense")],
        curves=list(_curves(section, row)),
        seeds=list(_seed_lines(table, row, records)),
        environment=_surroundings(records),
        command=_command(table, row),
        bibtex="\n".join(map(str, citation.entries)),
    )


def _curves(section: Section, row: Row) -> Iterator[Curve]:
    for column in section.table.threats:
        cells = row.under(column.id)
        if cells is None or not cells.curve:
            continue
        by_characters = not any(point.amount for point in cells.curve)
        amounts = [float(point.characters if by_characters else point.amount) for point in cells.curve]
        widest = max(amounts) or 1.0
        xs = [f"{38 + 268 * amount / widest:.1f}" for amount in amounts]
        low, value, high = ([f"{110 - 100 * share:.1f}" for share in shares] for shares in _bounds(cells.curve))
        up, back = list(zip(xs, low, strict=True)), list(zip(xs, high, strict=True))
        yield Curve(
            column.id,
            axis(column, by_characters),
            f"Accuracy under {column.id} falls from {words.percent(cells.curve[0].accuracy.value)} % "
            f"to {words.percent(cells.curve[-1].accuracy.value)} % as the budget grows.",
            cells.curve,
            labels := tuple(f"{amount:g}" for amount in amounts),
            _drawn(list(zip(xs, value, strict=True)), [*up, *reversed(back)], labels),
        )


def _drawn(line: Sequence[tuple[str, str]], band: Sequence[tuple[str, str]], labels: Sequence[str]) -> Markup:
    """A line of points with its band and the labels below it: nothing but numbers."""
    around, along = (" ".join(f"{x},{y}" for x, y in points) for points in (band, line))
    dots = "".join(
        f'<circle class="fill-s1" cx="{x}" cy="{y}" r="2.6"/><text class="fill-faint" x="{x}" y="124" '
        f'text-anchor="middle" font-size="9">{label}</text>\n'
        for (x, y), label in zip(line, labels, strict=True)
    )
    return Markup(
        f'{_GRID}<polygon class="fill-s1 band" points="{around}"/>'
        f'<polyline class="stroke-s1 line" fill="none" points="{along}"/>\n{dots}'
    )


def _bounds(curve: Sequence[CurvePoint]) -> tuple[list[float], list[float], list[float]]:
    """The lower ends, the values and the upper ends of a curve."""
    points = [point.accuracy for point in curve]
    return [p.low for p in points], [p.value for p in points], [p.high for p in points]


def _seed_lines(table: TaskTable, row: Row, records: Sequence[RunRecord]) -> Iterator[SeedLine]:
    for place, (source, record) in enumerate(zip(row.sources, records, strict=True)):
        cells = [row.under(column.id) for column in table.threats]
        at_rank = [under.at(RANKING_TIER) if under else None for under in cells]
        robust = tuple(None if cell is None else cell.by_seed[place] for cell in at_rank)
        yield SeedLine(source.seed, row.clean_by_seed[place], robust, source, record)


def _surroundings(records: Sequence[RunRecord]) -> list[tuple[str, str]]:
    """What the cells ran on, in words, each value once."""
    found = [record.environment for record in records]
    told = {
        "Processor": [f"{e.processor}, {e.platform}" for e in found],
        "Precision": [f"{e.precision}, {e.threads} thread{'s' if e.threads > 1 else ''}" for e in found],
        "Software": [f"Python {e.python}, torch {e.torch}, transformers {e.transformers}" for e in found],
    }
    return [(name, "; ".join(dict.fromkeys(values))) for name, values in told.items()]


def _command(table: TaskTable, row: Row) -> str:
    """How the row's cells are run again."""
    parts = ["recgauntlet", "run", "--task", table.task, "--track", table.track]
    parts += ["--model", row.model.name, "--defense", row.defense.name]
    for option, plugin in (("--model-option", row.model), ("--defense-option", row.defense)):
        for name, value in sorted(plugin.hyperparameters.items()):
            parts += [option, f"{name}={value}"]
    return shlex.join([*parts, "--seeds", ",".join(map(str, row.seeds)), "--out", "results/again"])
