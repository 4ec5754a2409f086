"""Results of best known attacks for a table's rows, attached after the tables are built; they never change a rank."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from recgauntlet.core.card import RANKING_TIER, TIERS
from recgauntlet.leaderboard.schema import BestKnownAttack, BestKnownCell, Row, TaskTable
from recgauntlet.records.best_known import BestKnown, broken_up_to
from recgauntlet.records.schema import RunRecord


def with_best_known(
    tables: Sequence[TaskTable], records: Iterable[RunRecord], found: Sequence[BestKnown]
) -> tuple[TaskTable, ...]:
    """The tables of `records`, with the results of `found` in their rows. Ranks and cells stay as they are."""
    by_digest = {record.digest: record for record in records}
    in_order = sorted({known.digest: known for known in found}.values(), key=lambda known: known.digest)
    return tuple(
        replace(table, rows=tuple(replace(row, best_known=_cells(row, by_digest, in_order)) for row in table.rows))
        for table in tables
    )


def without_record(records: Sequence[RunRecord], found: Iterable[BestKnown]) -> list[BestKnown]:
    """Those of `found` that challenge none of `records`: other weights, other data, or a record that is not here."""
    return [known for known in found if not any(_speaks_of(known, record) for record in records)]


def _speaks_of(known: BestKnown, record: RunRecord) -> bool:
    if not known.challenged.is_cell_of(record):
        return False
    count = record.clean.labels.n if record.clean is not None else -1
    return all(outcome.broken.n == count for outcome in known.outcomes)


def _cells(row: Row, records: Mapping[str, RunRecord], found: Sequence[BestKnown]) -> tuple[BestKnownCell, ...]:
    own = [records[source.digest] for source in row.sources]
    cells = (_cell(cells.threat, own, found) for cells in row.threats if cells.at(RANKING_TIER) is not None)
    return tuple(cell for cell in cells if cell is not None)


def _cell(threat: str, records: Sequence[RunRecord], found: Sequence[BestKnown]) -> BestKnownCell | None:
    """Means over the seeds that were challenged; None where there is none."""
    suite: list[float] = []
    best: list[float] = []
    seeds: list[int] = []
    attacks: dict[tuple[str, str, str], int] = {}
    for record in records:
        challenges = [
            (known, broken)
            for known in found
            if _speaks_of(known, record) and (broken := broken_up_to(known, threat, RANKING_TIER, TIERS)) is not None
        ]
        outcome = record.tier(threat, RANKING_TIER)
        if not challenges or outcome is None:
            continue
        robust = outcome.robust.to_bool()
        left = robust.copy()
        for known, broken in challenges:
            left &= ~broken
            who = (known.attack.name, known.attack.distribution, known.attack.version)
            attacks[who] = attacks.get(who, 0) + int((robust & broken).sum())
        suite.append(float(robust.mean()))
        best.append(float(left.mean()))
        seeds.append(record.seed)
    if not seeds:
        return None
    broken_by = tuple(BestKnownAttack(*who, broken) for who, broken in sorted(attacks.items()))
    return BestKnownCell(threat, float(np.mean(suite)), float(np.mean(best)), tuple(seeds), broken_by)
