"""Which test examples of a record are right: on the clean inputs, and under each ranked threat at the medium tier."""

from __future__ import annotations

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.types import BoolArray
from recgauntlet.metrics.ranking import correct
from recgauntlet.records.schema import Clean, RunRecord


def right_clean(clean: Clean) -> BoolArray:
    """`[2 P]`: right on the clean input."""
    return correct(clean.labels.to_bool(), clean.scores.to_float())


def right_under(record: RunRecord) -> dict[str, BoolArray]:
    """`[2 P]` by threat: right on the clean input and on everything found; ranked threats that were run alone."""
    found = [(threat.id, record.tier(threat.id, RANKING_TIER)) for threat in record.threats if threat.ranked]
    return {name: outcome.robust.to_bool() for name, outcome in found if outcome is not None}
