"""The columns of a finished record as arrays, each decoded once while a row is computed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from recgauntlet.core.card import Goal
from recgauntlet.core.types import BoolArray
from recgauntlet.metrics.ranking import Floats, Ranked, Scores, correct, offsets_of
from recgauntlet.records.ranking_quality import scores_of
from recgauntlet.records.schema import Clean, RunRecord


@dataclass(frozen=True)
class DecodedRecord:
    """A finished record. `P` is the number of test pairs, `N` that of the candidates of all test impressions."""

    record: RunRecord

    @property
    def clean(self) -> Clean:
        """The clean results; ValueError where there are none, which `check_record` refuses."""
        if self.record.clean is None:
            raise ValueError("a record without clean results has no numbers; check_record refuses such records")
        return self.record.clean

    @cached_property
    def correct(self) -> BoolArray:
        """`[2 P]`: whether each test example is right on the clean input."""
        return correct(self.clean.labels.to_bool(), self.clean.scores.to_float())

    def attackable(self, goal: Goal) -> BoolArray:
        """`[2 P]`: whether each test example is right on the clean input and may be attacked with this goal: with
        `promote` unclicked candidates alone."""
        return self.correct & ~self.clean.labels.to_bool() if goal == "promote" else self.correct

    @cached_property
    def labels(self) -> BoolArray:
        """`[N]`: whether each candidate was clicked."""
        return self.clean.impression_labels.to_bool()

    @cached_property
    def scores(self) -> Scores:
        """`[N]`: the clean scores of the candidates."""
        return scores_of(self.clean.impression_scores)

    @cached_property
    def ranked(self) -> Ranked:
        """The impressions, sorted by their clean scores."""
        return Ranked.of(self.labels, self.scores, offsets_of(self.clean.impression_sizes))

    @cached_property
    def ndcg10(self) -> Floats:
        """`[I]`: the nDCG@10 of each impression."""
        return self.ranked.ndcg_each(10)
