"""Fairness: a row's accuracy and exposure by groups, the largest gaps, and whether they are wider than its twin's.

The draws are those of the board's intervals: every draw takes the same test pairs and seeds for all groups, quantities
and rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from recgauntlet.core.types import IntArray
from recgauntlet.leaderboard.flags import MIN_SEEDS
from recgauntlet.leaderboard.group_measures import (
    Measured,
    Records,
    measures,
    shared_user_groups,
    user_group_measures,
)
from recgauntlet.leaderboard.groups_schema import MEASURES, GroupGap, GroupLine, Groups, Measure, TwinGap
from recgauntlet.leaderboard.paired import on_seeds, twin_of
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.metrics.bootstrap import Estimate, estimates
from recgauntlet.metrics.groups import Gap, GapChange, gap_change, largest_gap
from recgauntlet.metrics.significance import holm
from recgauntlet.records.groups import Grouping
from recgauntlet.records.user_groups import UserGroups

Named = TypeVar("Named", Gap, GapChange)


def with_groups(rows: Sequence[Row], table: TaskTable) -> list[Row]:
    """The rows of a table, those whose records all have the same groupings with their groups."""
    whole = replace(table, rows=tuple(rows))
    return [replace(row, groups=_of_row(row, twin_of(whole, row))) for row in rows]


def _of_row(row: Row, twin: Row | None) -> tuple[Groups, ...]:
    found = [_groups(row.records, one, row.worst) for one in _shared(row.records)]
    found += [_user_groups(row.records, one, row.worst) for one in shared_user_groups(row.records)]
    gaps: dict[tuple[str, Measure], TwinGap] = {}
    if twin is not None:
        gaps = _beside_twin(row.records, twin.records, row.worst)
    return tuple(
        replace(one, gaps=tuple(replace(gap, beside_twin=gaps.get((one.name, gap.measure))) for gap in one.gaps))
        for one in found
    )


def _shared(records: Records) -> list[Grouping]:
    """The groupings that all records have alike, on the first test pairs of the record with fewest; as in the first."""
    found = []
    for one in records[0].groups if records else ():
        same = [other for record in records for other in record.groups if (other.name, other.groups) == _form(one)]
        fewest = min(other.pairs.n for other in same)
        codes = {other.pairs.to_int()[:fewest].tobytes() for other in same}
        if len(same) == len(records) and len(codes) == 1:
            found.append(one)
    return found


def _form(grouping: Grouping) -> tuple[object, ...]:
    return grouping.name, grouping.groups


def _groups(records: Records, grouping: Grouping, worst: str | None) -> Groups:
    by_group, gaps = _estimated(measures([records], grouping, worst))
    sizes = np.bincount(grouping.pairs.to_int(), minlength=len(grouping.groups)).tolist()
    clean, robust, exposure = (by_group.get(measure, {}) for measure in MEASURES)
    lines = tuple(
        GroupLine(group.least, group.most, sizes[n], clean.get(n), robust.get(n), exposure.get(n))
        for n, group in enumerate(grouping.groups)
    )
    return Groups(grouping.name, worst, lines, gaps)


def _user_groups(records: Records, found: UserGroups, worst: str | None) -> Groups:
    by_group, gaps = _estimated(user_group_measures([records], found, worst))
    sizes = found.table(found.pairs).sum(axis=0).tolist()
    clean, robust = (by_group.get(measure, {}) for measure in MEASURES[:2])
    lines = tuple(
        GroupLine(None, None, sizes[n], clean.get(n), robust.get(n), label=label, users=found.users[n])
        for n, label in enumerate(found.labels)
    )
    return Groups(found.name, worst, lines, gaps)


def _estimated(
    measured: Mapping[Measure, Measured],
) -> tuple[dict[Measure, dict[int, Estimate]], tuple[GroupGap, ...]]:
    """Each measure of one row by group, and its largest gap where two groups have it."""
    by_group: dict[Measure, dict[int, Estimate]] = {}
    gaps = []
    for measure, one in measured.items():
        values, draws = one.values[:, 0], one.draws[:, :, 0]
        by_group[measure] = dict(zip(one.groups.tolist(), estimates(values.tolist(), draws), strict=True))
        if len(values) > 1:
            gap = largest_gap(values, draws)
            gaps.append(GroupGap(measure, _named(gap, one.groups)))
    return by_group, tuple(gaps)


def _named(gap: Named, groups: IntArray) -> Named:
    """The gap between groups by their numbers among all, of which `groups` were compared."""
    return replace(gap, best=int(groups[gap.best]), worst=int(groups[gap.worst]))


def _beside_twin(row: Records, twin: Records, worst: str | None) -> dict[tuple[str, Measure], TwinGap]:
    """The gaps of a row beside those of its twin, by grouping and measure; none with fewer than three common seeds."""
    seeds = sorted({record.seed for record in row} & {record.seed for record in twin})
    if len(seeds) < MIN_SEEDS:
        return {}
    both = [on_seeds(row, seeds), on_seeds(twin, seeds)]
    records = [record for records in both for record in records]
    compared: list[tuple[str, Mapping[Measure, Measured]]] = [
        *((one.name, measures(both, one, worst)) for one in _shared(records)),
        *((one.name, user_group_measures(both, one, worst)) for one in shared_user_groups(records)),
    ]
    tests: dict[tuple[str, Measure], TwinGap] = {}
    for name, measured in compared:
        for measure, found in measured.items():
            if len(found.groups) > 1:
                change = gap_change(found.values, found.draws)
                tests[name, measure] = TwinGap(tuple(seeds), _named(change, found.groups), change.p)
    corrected = holm([test.change.p for test in tests.values()])
    return {key: replace(test, holm=p) for (key, test), p in zip(tests.items(), corrected, strict=True)}
