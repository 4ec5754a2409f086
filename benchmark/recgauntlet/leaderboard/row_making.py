"""A row made of its records, wherever that is done: here, in another process, or once for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.leaderboard.aggregate import cost, outcomes, quality
from recgauntlet.leaderboard.decoded import Unfolded
from recgauntlet.leaderboard.flags import row_flags
from recgauntlet.leaderboard.schema import Row, Source, ThreatColumn
from recgauntlet.records.columns import Columns
from recgauntlet.records.schema import RunRecord


@dataclass(frozen=True)
class RowOrder:
    """All that a row depends on: its `finished` records, one a seed; the seeds that were `lost` and those that are
    `doubled` (of which there are several records); the threats of its table (of these only what they are and whether
    they are ranked), and whether the table ranks."""

    finished: tuple[RunRecord, ...]
    lost: tuple[int, ...]
    doubled: tuple[int, ...]
    threats: tuple[ThreatColumn, ...]
    ranked: bool


RowMaker = Callable[[Sequence[RowOrder]], Sequence[Row]]


def make_rows(orders: Sequence[RowOrder]) -> list[Row]:
    """The rows, made one after the other."""
    return [make_row(order) for order in orders]


def make_row(order: RowOrder, columns: Columns | None = None) -> Row:
    """The row, still without a rank; `columns` are those of its records that were unfolded before."""
    known = Columns() if columns is None else columns
    unfolded = [Unfolded(record, known) for record in order.finished]
    clean, clean_by_seed, threats = outcomes(unfolded, order.threats)
    ranked = {column.id for column in order.threats if column.ranked}
    at_rank = [
        (cell.robust.value, cells.threat)
        for cells in threats
        if cells.threat in ranked and (cell := cells.at(RANKING_TIER)) is not None
    ]
    return Row(
        model=order.finished[0].model,
        defense=order.finished[0].defense,
        rank=None,
        clean=clean,
        threats=threats,
        worst=min(at_rank)[1] if at_rank else None,
        quality=quality(unfolded),
        cost=cost(order.finished),
        flags=row_flags(order.finished, order.lost, order.doubled, ranked=order.ranked),
        sources=tuple(
            Source(r.seed, r.digest, r.environment.device, r.environment.recgauntlet, r.environment.commit)
            for r in order.finished
        ),
        clean_by_seed=clean_by_seed,
    )
