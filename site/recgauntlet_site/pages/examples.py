"""Examples of attacks on a task's page: inputs before and after, with the changed parts marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.records.schema import Evidence, RunRecord

MAX_EXAMPLES = 8
"""Examples on one page."""
Parts = tuple[tuple[str, bool], ...]
"""The parts of an input, each with whether it was removed (before) or added (after)."""


@dataclass(frozen=True)
class Example:
    """A successful attack on one test example; `separator` stands between the parts of the input."""

    threat: str
    tier: str
    attack: str
    model: str
    defense: str
    clean_score: float
    score: float
    candidate: str
    separator: str
    before: Parts
    after: Parts


def examples_of(table: TaskTable, records: Mapping[str, RunRecord]) -> Iterator[Example]:
    """At most `MAX_EXAMPLES` examples whose inputs may be shown, one for each attack; `records` by their digests."""
    found = [
        (record, evidence)
        for row in table.rows
        for source in row.sources[:1]
        for record in [records[source.digest]]
        for evidence in record.evidence
        if evidence.before
    ]
    found.sort(key=lambda pair: (pair[1].tier != RANKING_TIER, pair[1].attack, pair[0].defense.name != "standard"))
    first_of_each = [next(pairs) for _, pairs in groupby(found, key=lambda pair: pair[1].attack)]
    for record, evidence in first_of_each[:MAX_EXAMPLES]:
        before, after = before_and_after(evidence)
        yield Example(
            evidence.threat,
            evidence.tier,
            evidence.attack,
            record.model.name,
            record.defense.name,
            evidence.clean_score,
            evidence.score,
            evidence.candidate,
            " · " if evidence.candidate else " ",  # a history of titles, or the words of one title
            before,
            after,
        )


def before_and_after(evidence: Evidence) -> tuple[Parts, Parts]:
    """The clean input with its removed parts marked, and the perturbed input with its added parts marked."""
    before: list[tuple[str, bool]] = []
    after: list[tuple[str, bool]] = []
    for at in range(len(evidence.before) + 1):
        here = [edit for edit in evidence.edits if edit.at == at]
        after += [(edit.title or edit.new, True) for edit in here if edit.op == "insert"]
        after += [(edit.title or edit.new, True) for edit in here if edit.op == "replace"]
        if at < len(evidence.before):
            gone = any(edit.op != "insert" for edit in here)
            before.append((evidence.before[at], gone))
            if not gone:
                after.append((evidence.before[at], False))
    return tuple(before), tuple(after)
