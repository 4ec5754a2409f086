"""Groups of the test pairs in a record, by their users and by the clicked items: for fairness."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import numpy as np
from pydantic import Field

from recgauntlet.metrics.groups import PARTS
from recgauntlet.metrics.ranking import Floats
from recgauntlet.records.columns import FloatColumn, IntColumn
from recgauntlet.records.references import Part

GroupingName = Literal["activity", "history", "popularity"]
TITLES: dict[GroupingName, str] = {
    "activity": "user activity",
    "history": "length of the history",
    "popularity": "popularity of the clicked item",
}
UNITS: dict[GroupingName, tuple[str, str]] = {
    "activity": ("item", "items"),
    "history": ("item", "items"),
    "popularity": ("user", "users"),
}
"""What a group's bounds count: one, and several."""
MOST = 2**53
"""No bound of a group is above it."""
EXPOSED = 10
"""The places of a list that count for exposure."""


class Group(Part):
    """A group of test pairs: the least and the most of what the grouping counts, both in the group."""

    least: int = Field(ge=0, le=MOST)
    most: int = Field(ge=0, le=MOST)


class Grouping(Part):
    """Test pairs by one property, in at most five groups by rising number.

    `activity`: distinct items of the user in the training pairs, clicked or in a history; fifths of the test pairs. A
    user with none is new. `history`: items in the history of the pair; fifths of the test pairs. `popularity`: users
    who have the clicked item in the training pairs; fifths of the catalog. Equal numbers are in one group.

    `pairs [P]` is the group of each test pair. `exposed [L x G]`, of popularity alone: how many of the first EXPOSED
    places the items of each group have in each list of all items that the user never took (`clean.catalog`), tied items
    by their chance; None where there are no such lists.
    """

    name: GroupingName
    groups: tuple[Group, ...] = Field(min_length=1, max_length=PARTS)
    pairs: IntColumn
    exposed: FloatColumn | None = Field(default=None, exclude_if=lambda found: found is None)

    def shares(self) -> Floats | None:
        """`[L, G]`: the share of each list's first places that each group has; None where that was not measured."""
        if self.exposed is None:
            return None
        places = self.exposed.to_float().astype(np.float64).reshape(-1, len(self.groups))
        whole: Floats = places.sum(axis=1, keepdims=True)
        return places / np.maximum(whole, 1e-9)


def group_name(grouping: GroupingName, least: int, most: int) -> str:
    """A group in words: "12 items", "3–40 users", "0 items (new users)"."""
    one, several = UNITS[grouping]
    numbers = f"{least:,}" if least == most else f"{least:,}–{most:,}"
    new = " (new users)" if grouping == "activity" and most == 0 else ""
    return f"{numbers} {one if least == most == 1 else several}{new}"


def grouping_faults(groupings: tuple[Grouping, ...], pairs: int, lists: int) -> tuple[str, str] | None:
    """The field and what is wrong with it, of the groupings of a record of `pairs` test pairs with `lists` lists of all
    items; None where nothing is. RecordError where a column cannot be decoded."""
    if len({one.name for one in groupings}) != len(groupings):
        return "groups", "names one grouping twice"
    for one in groupings:
        place = f"groups.{one.name}"
        ends = [end for group in one.groups for end in (group.least, group.most)]
        rises = all(a <= b if n % 2 == 0 else a < b for n, (a, b) in enumerate(pairwise(ends)))
        if not ends or not rises:
            return f"{place}.groups", "must have at least one group, and bounds that rise from group to group"
        codes = one.pairs.to_int()
        if len(codes) != pairs or codes.max(initial=0) >= len(one.groups):
            return f"{place}.pairs", f"must have the number of a group for each of {pairs} test pairs"
        if one.exposed is None:
            continue
        places = one.exposed.to_float()
        if one.name != "popularity" or not lists or len(places) != lists * len(one.groups):
            return f"{place}.exposed", f"must have a number for each of {lists} lists of all items and each group"
        if not ((places >= 0) & (places <= EXPOSED)).all() or not places.reshape(lists, -1).any(axis=1).all():
            return f"{place}.exposed", f"must have numbers from 0 to {EXPOSED}, and some above 0 in each list"
    return None
