"""A record's columns as the tables need them, each unfolded once while a row is computed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from recgauntlet.core.card import Tier
from recgauntlet.core.types import BoolArray
from recgauntlet.metrics import ranking as metrics
from recgauntlet.metrics.ordering import Codes, Floats, impressions_of
from recgauntlet.records.columns import BitColumn, Columns
from recgauntlet.records.schema import Clean, RunRecord, TierOutcome


@dataclass(frozen=True)
class Unfolded:
    """A finished record, of which clean results must be there (`check_record` refuses others)."""

    record: RunRecord
    columns: Columns

    def examples(self, column: BitColumn) -> int:
        """The set of examples in a column of bits."""
        return self.columns.examples(column)

    @property
    def clean(self) -> Clean:
        """The clean results."""
        if self.record.clean is None:
            raise ValueError("a record without clean results has no numbers; check_record refuses such records")
        return self.record.clean

    @cached_property
    def right(self) -> BoolArray:
        """`[2 P]`: the test examples that are right on the clean input."""
        return metrics.correct(self.clean.labels.to_bool(), self.clean.scores.to_float())

    @cached_property
    def shown(self) -> BoolArray:
        """`[N]`: the labels of the candidates of all impressions."""
        return self.clean.impression_labels.to_bool()

    @cached_property
    def codes(self) -> Codes:
        """`[N]`: their clean scores, as an order. One that is no number ranks last, with all others of its kind."""
        return Codes.of_halves(self.columns.halves(self.clean.impression_scores))

    @cached_property
    def ranked(self) -> metrics.Ranked:
        """The impressions, sorted by their clean scores."""
        return metrics.Ranked.of(self.shown, self.codes, impressions_of(self.clean.impression_sizes))

    @property
    def users(self) -> metrics.Grouped:
        """The candidates by the users that they were shown to."""
        return _users_of(self.clean.impression_sizes, self.clean.impression_users)

    @cached_property
    def ndcg10_each(self) -> Floats:
        """`[I]`: the nDCG@10 of each impression."""
        return self.ranked.ndcg_each(10)

    def tier(self, threat: str, tier: Tier) -> TierOutcome | None:
        """What came of `threat` at `tier`; None where the record does not say."""
        found = (o for t in self.record.threats if t.id == threat for o in t.tiers if o.tier == tier)
        return next(found, None)

    def proved(self, threat: str, tier: Tier) -> int | None:
        """The set of examples that are certified under `threat` at `tier`; None where the record does not say."""
        found = (one.certified for one in self.record.certified if (one.threat, one.tier) == (threat, tier))
        column = next(found, None)
        return None if column is None else self.examples(column)


@lru_cache(maxsize=8)
def _users_of(sizes: tuple[int, ...], users: tuple[int, ...]) -> metrics.Grouped:
    """The candidates of impressions of these sizes by their users; the records of a table have the same."""
    return metrics.Grouped.of(np.repeat(np.array(users, dtype=np.int64), np.array(sizes, dtype=np.int64)))
