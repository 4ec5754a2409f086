"""Two rows on the same test pairs: their outcomes, seed by seed, and whether they may be compared at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recgauntlet.core.card import RANKING_TIER, TIERS, Tier
from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.address import RowAt
from recgauntlet.leaderboard.aggregate import pair_means
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.metrics import ranking as metrics
from recgauntlet.metrics.bootstrap import Floats
from recgauntlet.records.schema import RunRecord

STANDARD = "standard"
"""The defense that is none."""


@dataclass(frozen=True)
class Quantity:
    """A share of right answers: on clean inputs (`threat` is ""), or under a threat at a tier."""

    threat: str = ""
    tier: Tier = RANKING_TIER

    @property
    def words(self) -> str:
        """ "clean accuracy", "robust accuracy under NAME (low)"."""
        return f"robust accuracy under {self.threat} ({self.tier} tier)" if self.threat else "clean accuracy"


CLEAN = Quantity()


def outcomes(record: RunRecord, quantity: Quantity) -> Floats | None:
    """`[P]`: the share of each pair's two examples that `record` has right; None where it has no such result."""
    if record.clean is None:
        return None
    if not quantity.threat:
        return pair_means(metrics.correct(record.clean.labels.to_bool(), record.clean.scores.to_float()))
    for threat in record.threats:
        for tier in threat.tiers:
            if (threat.id, tier.tier) == (quantity.threat, quantity.tier):
                return pair_means(tier.robust.to_bool())
    return None


def layers(records: Sequence[RunRecord], quantity: Quantity) -> Floats | None:
    """`[S, P]`: `outcomes` of one record a seed; None where any of them has none."""
    found = [outcomes(record, quantity) for record in records]
    known = [part for part in found if part is not None]
    return np.stack(known) if known and len(known) == len(found) else None


def quantities(table: TaskTable, tiers: Sequence[Tier] = (RANKING_TIER,)) -> tuple[Quantity, ...]:
    """Clean accuracy and every threat of the table at each of `tiers`."""
    order: list[Tier] = [tier for tier in TIERS if tier in tiers]
    return (CLEAN, *(Quantity(column.id, tier) for column in table.threats for tier in order))


def common_seeds(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> tuple[int, ...]:
    """The seeds of which both rows have a record."""
    return tuple(sorted({record.seed for record in a} & {record.seed for record in b}))


def differences(a: Sequence[RunRecord], b: Sequence[RunRecord], quantity: Quantity) -> Floats | None:
    """`[S, P]`: the outcomes of `a` less those of `b` over their common seeds; None where there is none or one of them
    has no such result. Both must stand in tables that may be compared (`check_comparable`)."""
    seeds = common_seeds(a, b)
    first, second = (layers([r for r in records if r.seed in seeds], quantity) for records in (a, b))
    return None if first is None or second is None else first - second


def check_comparable(a: RowAt, b: RowAt) -> None:
    """Whether two rows were measured on the same: task, version, track, card, data, suite and test examples.

    Raises
    ------
    RecordError
        Naming all that differs.
    """
    unlike = a.table.setting.unlike(b.table.setting)
    if unlike:
        raise RecordError(
            f"cannot be compared with {b.address}: {', '.join(unlike)}",
            where=a.address,
            remedy="compare rows that were measured on the same task, data, suite and examples",
        )


def twin_of(table: TaskTable, row: Row) -> Row | None:
    """The undefended twin of `row`: the same model with the same options, trained plainly; None for the twin itself,
    and where there is none or more than one."""
    if row.defense.name == STANDARD:
        return None
    twins = [other for other in table.named(row.model.name, STANDARD) if other.model == row.model]
    return twins[0] if len(twins) == 1 else None
