"""The verifier of plays that are put into accounts that exist.

Some genuine users take part in the attack (the collective, drawn by the track's `sampling_seed`); the attacker adds no
account. A table is legal where

- it is made for this task, data, threat and tier, with the targets of the card;
- every row is of a user of the collective, a target, and a place; no account gets an item that it has in training, or
  an item twice;
- a place is that of one of the user's training plays, before which the row stands, or the one behind the last; no two
  rows of an account have one place;
- there are at most as many rows as the budget has.

A tier's table has all rows of the tier before.

A table only adds rows: no genuine one can be removed or changed by it. `changed_by_insertions` checks that after the
rows have become training pairs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.poison import Insertions
from recgauntlet.core.types import PAD
from recgauntlet.data.poison_tables import PoisonTable
from recgauntlet.data.poisoned import PoisonedData
from recgauntlet.threats.training_data import PoisonBudget, PoisonFault, PoisonVerifier


@dataclass(frozen=True)
class InsertionVerifier(PoisonVerifier):
    """The rules of a threat with `insertions` for one track."""

    def poison(self, table: PoisonTable) -> Insertions:
        """The insertions of a table without faults."""
        users = {user: number for number, user in enumerate(self.genuine.user_ids)}
        return Insertions(
            np.array([users[str(account)] for account in table.accounts], dtype=np.int64),
            np.array([self._items[str(item)] for item in table.items], dtype=np.int64),
            np.array(table.times, dtype=np.int64),
        )

    def nesting_fault(self, smaller: PoisonTable, larger: PoisonTable) -> PoisonFault | None:
        """Why a tier's table lacks a row of the tier before, `smaller`; None where it has all."""
        missing = Counter(smaller.rows()) - Counter(larger.rows())
        if not missing:
            return None
        account, item, _ = next(iter(missing))
        return PoisonFault(
            f"does not contain the {smaller.header.tier} tier: the item {item!r} of {account!r}", field="account"
        )

    @cached_property
    def _target_ids(self) -> frozenset[str]:
        return frozenset(self.genuine.catalog.ids[item] for item in self.targets.items.tolist())

    @cached_property
    def _places(self) -> dict[str, frozenset[int]]:
        """The legal places of each user of the collective."""
        training, ids = self.genuine.training, self.genuine.user_ids
        found = {}
        for user in self.targets.collective.tolist():
            own = training.times[training.users == user].tolist()
            found[ids[user]] = frozenset([*own, max(own) + 1])
        return found

    @cached_property
    def _taken(self) -> frozenset[tuple[str, str]]:
        """User and item of each training play of the collective."""
        training, ids, items = self.genuine.training, self.genuine.user_ids, self.genuine.catalog.ids
        own = training.where(np.isin(training.users, self.targets.collective))
        return frozenset((ids[user], items[item]) for user, item in zip(own.users, own.items, strict=True))

    def _row_faults(self, table: PoisonTable) -> Iterator[PoisonFault]:
        items: set[tuple[object, object]] = set()
        places: set[tuple[object, object]] = set()
        for row, (account, item, place) in enumerate(table.rows(), start=1):
            known = account in self._places if isinstance(account, str) else False
            for name, value, fault in (
                ("account", account, "" if known else f"{account!r} takes no part in the attack"),
                ("item", item, "" if item in self._target_ids else f"{item!r} is no target"),
                ("time", place, self._place_fault(account, place) if known else ""),
            ):
                if value is None or value != value or value == "":
                    yield PoisonFault("is missing", row, name)
                elif fault:
                    yield PoisonFault(fault, row, name)
            if (account, item) in self._taken or (account, item) in items:
                yield PoisonFault(f"{account!r} has the item {item!r} twice", row, "item")
            if (account, place) in places:
                yield PoisonFault(f"two plays are put at the place {place!r} of {account!r}", row, "time")
            items.add((account, item))
            places.add((account, place))

    def _place_fault(self, account: object, place: object) -> str:
        if not isinstance(place, int) or isinstance(place, bool):
            return f"{place!r} is no whole number that counts places"
        legal = self._places[str(account)]
        return "" if place in legal else f"{place} is no place in training of {account!r}, whose last is {max(legal)}"

    def _budget_faults(self, table: PoisonTable) -> Iterator[PoisonFault]:
        budget = PoisonBudget.of(self.threat, table.header.tier, self.genuine)
        if len(table) > budget.insertions:
            yield PoisonFault(
                f"there are {len(table)} plays, {budget.insertions} are allowed ({budget.tier})",
                budget.insertions + 1,
                "account",
            )


def changed_by_insertions(clean: TaskData, poisoned: PoisonedData, inserted: Insertions) -> str:
    """What of the genuine data is not as before, but for insertions in the histories of their own users' training
    pairs; empty where everything is."""
    data, size = poisoned.data, len(clean.catalog)
    keys = inserted.keys(size)
    kept = data.train.select(np.flatnonzero(~np.isin(data.train.users * size + data.train.clicked, keys)))
    columns = ("users", "clicked", "unclicked")
    if not all(np.array_equal(getattr(kept, name), getattr(clean.train, name)) for name in columns):
        return "genuine training pairs changed"
    for user, before, after in zip(kept.users.tolist(), clean.train.histories, kept.histories, strict=True):
        own = after[after != PAD]
        left = own[~np.isin(user * size + own, keys)]
        there = before[before != PAD]
        # a full history may have lost its oldest items
        if not np.array_equal(left, there[len(there) - len(left) :]) or (len(left) < len(there) and PAD in after):
            return "genuine training pairs changed"
    if any(
        getattr(data, part) is not getattr(clean, part)
        for part in ("valid", "test", "impressions", "popular_impressions")
    ):
        return "genuine validation or test examples changed"
    if data.user_count != clean.user_count or data.catalog is not clean.catalog:
        return "the users or the catalog changed"
    return ""
