"""What is measured of rows by groups of their test pairs: accuracy and exposure, with bootstrap draws.

Groups by activity, history and popularity take the draws of the board's intervals, of test pairs. Groups by attributes
of users take draws of blocks of users: all pairs of a user are then drawn together, and a record has no more than sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recgauntlet.core.types import IntArray
from recgauntlet.leaderboard.groups_schema import Measure
from recgauntlet.leaderboard.paired import CLEAN, Quantity, outcomes
from recgauntlet.metrics.bootstrap import Floats, means_by_group, means_of_sums, resampled_means
from recgauntlet.metrics.groups import LEAST_PAIRS
from recgauntlet.records.groups import Grouping
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.user_groups import UserGroups

Records = Sequence[RunRecord]


@dataclass(frozen=True)
class Measured:
    """A measure of K rows in the groups `groups [G]` that have it: `values [G, K]` and `draws [R, G, K]`."""

    groups: IntArray
    values: Floats
    draws: Floats


def measures(rows: Sequence[Records], grouping: Grouping, worst: str | None) -> Mapping[Measure, Measured]:
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
    found: dict[Measure, Measured] = {}
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
                found[name] = Measured(kept, values[:, own], draws[:, :, own])
    exposure = _exposure(rows, grouping)
    if exposure is not None:
        found["exposure"] = exposure
    return found


def _exposure(rows: Sequence[Records], grouping: Grouping) -> Measured | None:
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
    return Measured(np.arange(shape[1]), values.T, draws.transpose(0, 2, 1))


def shared_user_groups(records: Records) -> list[UserGroups]:
    """The user groups that all records have alike, with the same test pairs in each block; as in the first."""
    found = []
    for one in records[0].user_groups if records else ():
        same = [_of(record, one.name) for record in records]
        if {_form(other) for other in same} == {_form(one)}:
            found.append(one)
    return found


def user_group_measures(rows: Sequence[Records], found: UserGroups, worst: str | None) -> Mapping[Measure, Measured]:
    """Clean accuracy, and robust accuracy under `worst`, of rows with the same seeds and user groups, as far as all
    have them. An accuracy is of groups with at least LEAST_PAIRS pairs."""
    pairs = found.table(found.pairs)
    kept = np.flatnonzero(pairs.sum(axis=0) >= LEAST_PAIRS)
    measured: dict[Measure, Measured] = {}
    for measure in ("clean", "robust"):
        tables = [[_right(record, found, measure, worst) for record in records] for records in rows]
        there = [[one for one in each if one is not None] for each in tables]
        if not len(kept) or [len(each) for each in there] != [len(each) for each in tables]:
            continue
        by_row = np.array(there, dtype=np.float64)[:, :, :, kept]  # [K, S, BLOCKS, G]
        values, draws = means_of_sums(by_row.transpose(2, 3, 1, 0) / 2, pairs[:, kept].astype(np.float64))
        measured[measure] = Measured(kept, values, draws)
    return measured


def _right(record: RunRecord, found: UserGroups, measure: Measure, worst: str | None) -> IntArray | None:
    """`[BLOCKS, G]`: the right examples, two a pair, of a record that has the groups; None where it does not say."""
    own = _of(record, found.name)
    column = None if own is None else own.clean if measure == "clean" else own.under(worst or "")
    return None if own is None or column is None else own.table(column)


def _of(record: RunRecord, name: str) -> UserGroups | None:
    return next((one for one in record.user_groups if one.name == name), None)


def _form(found: UserGroups | None) -> object:
    return found and (found.labels, found.users, found.table(found.pairs).tobytes())
