"""Fairness: a row's accuracy and exposure by groups, the largest gaps, and whether they are wider than its twin's.

The draws are those of the board's intervals: every draw takes the same test pairs and seeds for all groups, quantities
and rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from recgauntlet.core.types import IntArray
from recgauntlet.leaderboard.flags import MIN_SEEDS
from recgauntlet.leaderboard.groups_schema import MEASURES, GroupGap, GroupLine, Groups, Measure, TwinGap
from recgauntlet.leaderboard.paired import CLEAN, Quantity, on_seeds, outcomes, twin_of
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.metrics.bootstrap import Estimate, Floats, estimates, means_by_group, resampled_means
from recgauntlet.metrics.groups import LEAST_PAIRS, Gap, GapChange, gap_change, largest_gap
from recgauntlet.metrics.significance import holm
from recgauntlet.records.groups import Grouping
from recgauntlet.records.schema import RunRecord

Records = Sequence[RunRecord]
Named = TypeVar("Named", Gap, GapChange)


@dataclass(frozen=True)
class _Measured:
    """A measure of K rows in the groups `groups [G]` that have it: `values [G, K]` and `draws [R, G, K]`."""

    groups: IntArray
    values: Floats
    draws: Floats


def with_groups(rows: Sequence[Row], table: TaskTable) -> list[Row]:
    """The rows of a table, those whose records all have the same groupings with their groups."""
    whole = replace(table, rows=tuple(rows))
    return [replace(row, groups=_of_row(row, twin_of(whole, row))) for row in rows]


def _of_row(row: Row, twin: Row | None) -> tuple[Groups, ...]:
    found = [_groups(row.records, one, row.worst) for one in _shared(row.records)]
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
    measured = _measures([records], grouping, worst)
    by_group: dict[Measure, dict[int, Estimate]] = {}
    gaps = []
    for measure, one in measured.items():
        values, draws = one.values[:, 0], one.draws[:, :, 0]
        by_group[measure] = dict(zip(one.groups.tolist(), estimates(values.tolist(), draws), strict=True))
        if len(values) > 1:
            gap = largest_gap(values, draws)
            gaps.append(GroupGap(measure, _named(gap, one.groups)))
    sizes = np.bincount(grouping.pairs.to_int(), minlength=len(grouping.groups)).tolist()
    clean, robust, exposure = (by_group.get(measure, {}) for measure in MEASURES)
    lines = tuple(
        GroupLine(group.least, group.most, sizes[n], clean.get(n), robust.get(n), exposure.get(n))
        for n, group in enumerate(grouping.groups)
    )
    return Groups(grouping.name, worst, lines, tuple(gaps))


def _named(gap: Named, groups: IntArray) -> Named:
    """The gap between groups by their numbers among all, of which `groups` were compared."""
    return replace(gap, best=int(groups[gap.best]), worst=int(groups[gap.worst]))


def _beside_twin(row: Records, twin: Records, worst: str | None) -> dict[tuple[str, Measure], TwinGap]:
    """The gaps of a row beside those of its twin, by grouping and measure; none with fewer than three common seeds."""
    seeds = sorted({record.seed for record in row} & {record.seed for record in twin})
    if len(seeds) < MIN_SEEDS:
        return {}
    both = [on_seeds(row, seeds), on_seeds(twin, seeds)]
    tests: dict[tuple[str, Measure], TwinGap] = {}
    for grouping in _shared([record for records in both for record in records]):
        for measure, one in _measures(both, grouping, worst).items():
            if len(one.groups) < 2:
                continue
            change = gap_change(one.values, one.draws)
            tests[grouping.name, measure] = TwinGap(tuple(seeds), _named(change, one.groups), change.p)
    corrected = holm([test.change.p for test in tests.values()])
    return {key: replace(test, holm=p) for (key, test), p in zip(tests.items(), corrected, strict=True)}


def _measures(rows: Sequence[Records], grouping: Grouping, worst: str | None) -> Mapping[Measure, _Measured]:
    """Clean accuracy, robust accuracy under `worst` and exposure of rows with the same seeds, as far as all have them,
    on the test pairs and lists that they share. An accuracy is of groups with at least LEAST_PAIRS pairs."""
    wanted: list[tuple[Measure, Quantity]] = [("clean", CLEAN)]
    if worst is not None:
        wanted.append(("robust", Quantity(worst)))
    there: dict[Measure, list[Floats]] = {}
    for measure, quantity in wanted:
        bits = [one for records in rows if (one := outcomes(records, quantity)) is not None]
        if len(bits) == len(rows):
            there[measure] = bits
    found: dict[Measure, _Measured] = {}
    if there:
        pairs = min(one.shape[1] for each in there.values() for one in each)
        codes = grouping.pairs.to_int()[:pairs]
        kept = np.flatnonzero(np.bincount(codes, minlength=len(grouping.groups)) >= LEAST_PAIRS)
        if len(kept):
            place = np.full(len(grouping.groups), -1)
            place[kept] = np.arange(len(kept))
            stacked = np.stack([one[:, :pairs] for each in there.values() for one in each], axis=2)
            values, draws = means_by_group(stacked, place[codes])
            for number, name in enumerate(there):
                own = slice(number * len(rows), (number + 1) * len(rows))
                found[name] = _Measured(kept, values[:, own], draws[:, :, own])
    exposure = _exposure(rows, grouping)
    if exposure is not None:
        found["exposure"] = exposure
    return found


def _exposure(rows: Sequence[Records], grouping: Grouping) -> _Measured | None:
    """The share of the first places of lists of all items that each group of items has."""
    shares = []
    for records in rows:
        parts = [one.shares() for record in records for one in record.groups if one.name == grouping.name]
        shares.append([part for part in parts if part is not None])
        if not records or len(shares[-1]) != len(records):
            return None
    lists = min(len(part) for each in shares for part in each)
    by_row = [np.stack([part[:lists] for part in each]) for each in shares]  # each [S, L, G]
    stacked = np.concatenate(by_row, axis=2)
    shape = (len(rows), len(grouping.groups))
    draws = resampled_means(stacked).reshape(-1, *shape)
    values = stacked.mean(axis=(0, 1)).reshape(shape)
    return _Measured(np.arange(shape[1]), values.T, draws.transpose(0, 2, 1))
