"""Test pairs by what a data set records of their users, summed over blocks of users: for fairness.

A record has sums and no group of a single pair, because personal attributes may be data that may not be passed on.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.dataset import AttributeName
from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.records.columns import IntColumn
from recgauntlet.records.references import Part

BLOCKS = 20
"""Users are dealt out to so many blocks; a draw of the bootstrap takes whole blocks."""
LEAST_USERS = 5
"""Groups with fewer users are left out of a record."""
TITLES: dict[AttributeName, str] = {"age": "age of the user", "gender": "gender of the user"}


class ThreatSums(Part):
    """Under a ranked threat at the medium tier: how many examples of each block and group `[BLOCKS x G]` stand."""

    threat: str
    right: IntColumn


class UserGroups(Part):
    """Test pairs by one attribute of their users, as the data set records it.

    `labels` are the G groups in words and `users` their numbers of users. `pairs [BLOCKS x G]` are the test pairs of
    each block of users in each group, and `clean [BLOCKS x G]` how many of their examples, two a pair, are right on
    the clean input. Pairs of users without a group are in none.
    """

    name: AttributeName
    labels: tuple[Annotated[str, Field(min_length=1, max_length=40)], ...] = Field(min_length=1, max_length=10)
    users: tuple[Annotated[int, Field(ge=LEAST_USERS, le=2**53)], ...]
    pairs: IntColumn
    clean: IntColumn
    robust: tuple[ThreatSums, ...]

    def table(self, column: IntColumn) -> IntArray:
        """`[BLOCKS, G]`: the numbers of one of its columns."""
        return column.to_int().reshape(BLOCKS, len(self.labels))

    def under(self, threat: str) -> IntColumn | None:
        """The examples that stand under a threat; None where it is not there."""
        return next((one.right for one in self.robust if one.threat == threat), None)

    def accuracy(self, right: IntColumn) -> list[float]:
        """The accuracy of each group by its right examples."""
        shares: list[float] = (self.table(right).sum(axis=0) / (2 * self.table(self.pairs).sum(axis=0))).tolist()
        return shares


def user_groups_faults(
    found: tuple[UserGroups, ...], clean: BoolArray, robust: dict[str, BoolArray]
) -> tuple[str, str] | None:
    """The field and what is wrong with it, of the user groups of a record with the right examples `clean [2 P]`, and
    `robust [2 P]` under each ranked threat at the medium tier; None where nothing is. RecordError where a column
    cannot be decoded."""
    if len({one.name for one in found}) != len(found):
        return "user_groups", "names one attribute twice"
    for one in found:
        place, size = f"user_groups.{one.name}", BLOCKS * len(one.labels)
        if len(set(one.labels)) != len(one.labels) or len(one.users) != len(one.labels):
            return f"{place}.labels", "must be different, each with its number of users"
        named = [each.threat for each in one.robust]
        if len(set(named)) != len(named) or not set(named) <= robust.keys():
            return f"{place}.robust", f"must name ranked threats with a {RANKING_TIER} tier, each once"
        columns = {
            "pairs": one.pairs,
            "clean": one.clean,
            **{f"robust.{each.threat}": each.right for each in one.robust},
        }
        for name, column in columns.items():
            if column.n != size:
                return f"{place}.{name}", f"must have a number for each of {BLOCKS} blocks and each group"
        pairs = one.table(one.pairs)
        if pairs.sum() > len(clean) // 2 or (pairs.sum(axis=0) < np.array(one.users)).any():
            return f"{place}.pairs", "must have at least as many pairs as users in each group, and at most all"
        for name, bits in {"clean": clean, **{f"robust.{name}": robust[name] for name in named}}.items():
            right = one.table(columns[name])
            outside = int(bits.sum() - right.sum())  # right examples of users without a group
            if (right > 2 * pairs).any() or not 0 <= outside <= len(clean) - 2 * pairs.sum():
                return f"{place}.{name}", "must be sums of the right examples, at most two for each pair"
    return None
