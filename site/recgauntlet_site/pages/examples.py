"""Examples of attacks on a task's page: inputs before and after, with the changed parts marked."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import NamedTuple

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.records.schema import Evidence, RunRecord

MAX_EXAMPLES = 8
"""Examples on one page."""
Parts = tuple[tuple[str, bool], ...]
"""The parts of an input, each with whether it was removed (before) or added (after)."""


class Example(NamedTuple):
    """A successful attack on one test example of a record, as the input was before and after it."""

    record: RunRecord
    evidence: Evidence
    before: Parts
    after: Parts

    @property
    def separator(self) -> str:
        """What stands between the parts: those of a history are titles, those of a title are words."""
        return " · " if self.evidence.candidate else " "


def examples_of(table: TaskTable, records: Mapping[str, RunRecord]) -> list[Example]:
    """At most `MAX_EXAMPLES` examples whose inputs may be shown, one for each attack; `records` by their digests."""
    found = [
        (record, evidence)
        for row in table.rows
        for record in [records[row.sources[0].digest]]
        for evidence in record.evidence
        if evidence.before
    ]
    found.sort(key=lambda pair: (pair[1].tier != RANKING_TIER, pair[1].attack, pair[0].defense.name != "standard"))
    first_of_each = [next(pairs) for _, pairs in groupby(found, key=lambda pair: pair[1].attack)]
    return [Example(record, one, *before_and_after(one)) for record, one in first_of_each[:MAX_EXAMPLES]]


def before_and_after(evidence: Evidence) -> tuple[Parts, Parts]:
    """The clean input with its removed parts marked, and the perturbed input with its added parts marked."""
    before: list[tuple[str, bool]] = []
    after: list[tuple[str, bool]] = []
    for at in range(len(evidence.before) + 1):
        here = [edit for edit in evidence.edits if edit.at == at]
        for op in ("insert", "replace"):
            after += [(edit.title or edit.new, True) for edit in here if edit.op == op]
        if at < len(evidence.before):
            gone = any(edit.op != "insert" for edit in here)
            before.append((evidence.before[at], gone))
            if not gone:
                after.append((evidence.before[at], False))
    return tuple(before), tuple(after)
