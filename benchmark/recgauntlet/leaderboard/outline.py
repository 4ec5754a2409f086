"""What a table must know of a record besides its row's numbers: what was measured, on what, under which threats."""

from __future__ import annotations

from dataclasses import dataclass

from recgauntlet.core.card import TIERS
from recgauntlet.leaderboard.schema import ThreatColumn, TierBudget
from recgauntlet.records.comparability import Ground
from recgauntlet.records.schema import RunRecord


@dataclass(frozen=True)
class Outline:
    """The outline of a record. `measured` says whether it has clean results; `examples` and `impressions` are how many
    it has them of."""

    ground: Ground
    measured: bool
    examples: int
    impressions: int
    threats: tuple[ThreatColumn, ...]

    @classmethod
    def of(cls, record: RunRecord) -> Outline:
        """The outline of `record`; RecordError where a column of its test examples is broken."""
        clean = record.clean
        threats = (
            ThreatColumn(
                threat.id,
                threat.surface,
                threat.goal,
                threat.ranked,
                tuple(
                    TierBudget(outcome.tier, outcome.amount, outcome.characters, outcome.queries)
                    for outcome in sorted(threat.tiers, key=lambda outcome: TIERS.index(outcome.tier))
                ),
            )
            for threat in record.threats
        )
        return cls(
            Ground.of(record),
            clean is not None,
            clean.labels.n if clean else 0,
            len(clean.impression_sizes) if clean else 0,
            tuple(threats),
        )
