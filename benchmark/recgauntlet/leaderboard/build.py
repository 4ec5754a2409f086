"""The leaderboard's tables: run records in, rows of estimates out, for every renderer to draw from.

One table holds records that may be compared: the same task, version, track, card, data, attack suite and test
examples. Every number is computed from the records' per-example outcomes. See docs/results/leaderboard.md for how
rows are ranked, and why some are not.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from recgauntlet.leaderboard.outline import Outline
from recgauntlet.leaderboard.row_making import RowMaker, RowOrder, make_rows
from recgauntlet.leaderboard.schema import FailedCell, Row, TaskTable, ThreatColumn
from recgauntlet.metrics.bootstrap import shared_ranks
from recgauntlet.records.comparability import Ground
from recgauntlet.records.schema import RunRecord


def build_table(records: Sequence[RunRecord], rows: RowMaker = make_rows) -> tuple[TaskTable, ...]:
    """The tables of `records`, standard track first, whatever order they come in.

    The records must have passed `consistency.check_record`. Records of different grounds
    (`recgauntlet.records.comparability`) are
    never in one table, so never in one ranking: `apart` says why two tables of a task are two. Two records of one
    cell: a finished one counts before a failed one, then the one that finished last; the row says so. A failed cell
    stands in the table of its ground, even where it failed too early to know its data; where there is no such table it
    gets one without rows. `rows` makes all rows at once (`recgauntlet.leaderboard.workshop` has a quicker way for
    many).
    """
    drafts = draft_tables([(record, Outline.of(record)) for record in records])
    made = iter(rows([order for draft in drafts for order in draft.orders]))
    return tuple(_table(draft, [next(made) for _ in draft.orders]) for draft in drafts)


@dataclass(frozen=True)
class Draft:
    """A table whose rows are still to be made, by `orders`."""

    table: TaskTable
    orders: tuple[RowOrder, ...]


def draft_tables(outlined: Sequence[tuple[RunRecord, Outline]]) -> list[Draft]:
    """The drafts of the tables of `build_table`, from records with the outline of each."""
    done: dict[Ground, list[_Known]] = defaultdict(list)
    failed: dict[Ground, list[_Known]] = defaultdict(list)
    known = [_Known(record if record.digest else record.sealed(), outline) for record, outline in outlined]
    in_order = sorted(known, key=lambda one: one.record.digest)
    for one in in_order:
        if one.outline.measured:
            done[one.outline.ground].append(one)
    for one in in_order:
        if not one.outline.measured:
            ground = one.outline.ground
            homes = sorted((known for known in done if ground.may_be(known)), key=_ground_order)
            failed[homes[0] if homes else ground].append(one)
    return [_draft(ground, done[ground], failed[ground]) for ground in sorted({*done, *failed}, key=_ground_order)]


def apart(tables: Sequence[TaskTable]) -> dict[int, tuple[tuple[int, tuple[str, ...]], ...]]:
    """For each table (by its place) the others of the same task and track, and in words why they are not one table."""
    found = {}
    for place, table in enumerate(tables):
        found[place] = tuple(
            (other, table.ground.unlike(tables[other].ground))
            for other in range(len(tables))
            if other != place and (tables[other].task, tables[other].track) == (table.task, table.track)
        )
    return found


def _ground_order(ground: Ground) -> tuple[object, ...]:
    return (
        ground.track != "standard",
        ground.task,
        ground.version,
        ground.fingerprint,
        ground.data_fingerprint,
        ground.suite.fingerprint,
        ground.examples,
        repr(ground),
    )


@dataclass(frozen=True)
class _Known:
    record: RunRecord
    outline: Outline


def _draft(ground: Ground, done: Sequence[_Known], failed: Sequence[_Known]) -> Draft:
    cells: dict[str, list[RunRecord]] = defaultdict(list)
    for one in [*done, *failed]:
        cells[_plugins_of(one.record)].append(one.record)
    table = TaskTable(
        task=ground.task,
        version=ground.version,
        track=ground.track,
        fingerprint=ground.fingerprint,
        data_fingerprint=ground.data_fingerprint,
        suite=ground.suite,
        examples_fingerprint=ground.examples,
        simulated=ground.simulated,
        redistributable=ground.redistributable,
        examples=done[0].outline.examples if done else 0,
        impressions=done[0].outline.impressions if done else 0,
        threats=_columns(one.outline for one in done),
        rows=(),
        failed=(),
    )
    orders: list[RowOrder] = []
    losses: list[RunRecord] = []
    for key in sorted(cells):
        finished, lost, doubled = _one_a_seed(cells[key])
        losses += lost
        if finished:
            seeds = tuple(record.seed for record in lost)
            orders.append(RowOrder(tuple(finished), seeds, doubled, table.threats, table.ranked))
    return Draft(replace(table, failed=tuple(_failed_cell(record) for record in losses)), tuple(orders))


def _table(draft: Draft, rows: Sequence[Row]) -> TaskTable:
    ranked = _with_ranks(rows) if draft.table.ranked else rows
    return replace(draft.table, rows=tuple(sorted(ranked, key=_row_order)))


def _columns(outlines: Iterable[Outline]) -> tuple[ThreatColumn, ...]:
    """The threats of the records: ranked ones first, then by name. A model that reads the surface tells the
    budgets."""
    found: dict[str, ThreatColumn] = {}
    for outline in outlines:
        for column in outline.threats:
            known = found.get(column.id)
            if known is None or len(known.budgets) < len(column.budgets):
                found[column.id] = column
    return tuple(sorted(found.values(), key=lambda column: (not column.ranked, column.id)))


def _one_a_seed(
    records: Iterable[RunRecord],
) -> tuple[list[RunRecord], list[RunRecord], tuple[int, ...]]:
    """The finished records and the failed ones, one a seed, and the seeds of which there was more than one
    record."""
    by_seed: dict[int, dict[str, RunRecord]] = defaultdict(dict)
    for record in records:
        by_seed[record.seed][record.digest] = record
    chosen = [
        max(same.values(), key=lambda r: (r.status == "ok", r.finished, r.digest))
        for _, same in sorted(by_seed.items())
    ]
    doubled = tuple(seed for seed, same in sorted(by_seed.items()) if len(same) > 1)
    finished = [record for record in chosen if record.status == "ok"]
    return finished, [record for record in chosen if record.status == "failed"], doubled


def _with_ranks(rows: Sequence[Row]) -> list[Row]:
    """The rows, those that may be ranked with their ranks."""
    able = {
        number: row.worst_cell.robust
        for number, row in enumerate(rows)
        if row.worst_cell is not None and not any(flag.blocks_rank for flag in row.flags)
    }
    ranks = dict(zip(able, shared_ranks(list(able.values())), strict=True))
    return [replace(row, rank=ranks.get(number)) for number, row in enumerate(rows)]


def _row_order(row: Row) -> tuple[object, ...]:
    """By rank and robust accuracy; unranked rows last, by name, the undefended twin before the defended."""
    place = (np.inf, 0.0)
    if row.rank is not None and row.worst_cell is not None:
        place = (row.rank, -row.worst_cell.robust.value)
    return (*place, row.model.name, row.defense.name != "standard", row.defense.name, _plugins_of(row))


def _failed_cell(record: RunRecord) -> FailedCell:
    failure = record.failure
    return FailedCell(
        record.model.name,
        record.defense.name,
        record.seed,
        failure.kind if failure else "unknown",
        failure.stage if failure else "unknown",
        failure.message if failure else "",
        record.digest,
    )


def _plugins_of(cell: RunRecord | Row) -> str:
    return _text(cell.model.key.model_dump(), cell.defense.key.model_dump())


def _text(*parts: object) -> str:
    return json.dumps(parts, sort_keys=True)
