"""The threat to training data: its budget, its targets, and the verifier of poison tables.

The verifier imports nothing of the attacks and trusts nothing that they return. A table is legal where

- it is made for this task, data, threat and tier, with the targets of the card;
- every row has an account, an item of the catalog and a time, and no account has an item twice;
- no account is a genuine user, of whatever period;
- there are at most as many accounts, and in each at most as many items, as the budget has;
- every time lies inside the training period, on a day (UTC) of it on which a genuine user took something; where the
  data has an order but no clock, the times of an account with n items are the places 0 to n - 1, each once.

A table only adds rows, so genuine ones cannot be touched by it; `changed_genuine` checks that none is after the rows
have become training pairs. Tiers are nested: `nesting_fault`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np

from recgauntlet.core.card import Tier, TierValues, TrainingDataThreat
from recgauntlet.core.dataset import Impressions, Pairs, TaskData
from recgauntlet.core.poison import FakeAccounts, Poison, Targets
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import IntArray
from recgauntlet.data.interactions import Interactions
from recgauntlet.data.poison_tables import PoisonTable, rows_hash
from recgauntlet.data.poisoned import PoisonedData

DAY = 86_400
"""Seconds."""
_PARTS = {"tail": (5, 0), "middle": (5, 2), "head": (5, 4), "label": (3, 0)}
"""Of each set of targets: into how many parts the items are cut by popularity, and which part it is, from the least."""


@dataclass(frozen=True)
class PoisonBudget:
    """A threat to training data at one tier.

    threat
        The threat as its card has it.
    tier
        Which of its three tiers.
    accounts
        The most accounts.
    length
        The most distinct items of an account.
    insertions
        The most interactions that are put into accounts that exist; a threat has these or accounts.
    """

    threat: TrainingDataThreat
    tier: Tier
    accounts: int
    length: int
    insertions: int = 0

    @classmethod
    def of(cls, threat: TrainingDataThreat, tier: Tier, genuine: Interactions) -> PoisonBudget:
        """The budget of `threat` at `tier` among the `genuine` interactions."""

        def count(caps: TierValues | None, of: int) -> int:
            # 0.03 * 100 is a little below 3
            return math.floor(caps.at(tier) * of + 1e-9) if caps is not None else 0

        accounts = count(threat.accounts, genuine.training_users)
        length = genuine.median_profile if threat.accounts is not None else 0
        return cls(threat, tier, accounts, length, count(threat.insertions, len(genuine.training)))


def draw_targets(threat: TrainingDataThreat, genuine: Interactions, seed: int) -> Targets:
    """The targets of a threat, and the users who take part in it, drawn by the track's `sampling_seed`.

    Items that were taken in the training period are ordered by their number of users (of equal ones by their place in
    the catalog) and cut into fifths, or thirds for "label"; a set is drawn evenly from its part.
    """
    taken = np.flatnonzero(genuine.popularity)
    ordered = taken[np.argsort(genuine.popularity[taken], kind="stable")]
    rng = Randomness(seed, f"poisoning/{threat.id}/targets")
    sets: dict[str, IntArray] = {}
    for name in threat.target_sets:
        parts, number = _PARTS[name]
        pool = np.array_split(ordered, parts)[number]
        sets[name] = np.sort(rng.child(name).numpy().choice(pool, min(threat.targets, len(pool)), replace=False))
    users = np.unique(genuine.training.users)
    size = math.floor((threat.collective or 0.0) * len(users) + 1e-9)
    return Targets(sets, np.sort(rng.child("collective").numpy().permutation(users)[:size]))


@dataclass(frozen=True)
class PoisonFault:
    """Why a poison table is refused: the problem, the row (from 1; None for the whole table) and the column."""

    problem: str
    row: int | None = None
    field: str = ""

    @property
    def place(self) -> str:
        """ "account, row 3"."""
        return ", ".join(part for part in (self.field, "" if self.row is None else f"row {self.row}") if part)

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}" if self.place else self.problem


@dataclass(frozen=True)
class PoisonVerifier:
    """The rules of a threat for one track.

    task, track
        The track's names.
    threat
        The threat as the card has it.
    genuine
        The track's genuine interactions.
    targets
        As drawn for the card.
    """

    task: str
    track: str
    threat: TrainingDataThreat
    genuine: Interactions
    targets: Targets

    def faults(self, table: PoisonTable) -> list[PoisonFault]:
        """Everything that is wrong with a table, empty where it is legal: first what it was made for, and then nothing
        else; then row by row; then what concerns all rows."""
        found = list(self._header_faults(table))
        if found:
            return found
        found = sorted(self._row_faults(table), key=lambda fault: fault.row or 0)
        found += self._budget_faults(table)
        if not found and table.header.sha256 != rows_hash(table.rows()):
            found.append(PoisonFault("the rows are not those that the header was written for", field="header.sha256"))
        return found

    def accounts(self, table: PoisonTable) -> FakeAccounts:
        """The accounts of a table without faults, numbered in the order in which they first stand there."""
        numbers = {account: number for number, account in enumerate(dict.fromkeys(table.accounts))}
        accounts = np.array([numbers[account] for account in table.accounts], dtype=np.int64)
        items = np.array([self._items[str(item)] for item in table.items], dtype=np.int64)
        return FakeAccounts(accounts, items, np.array(table.times, dtype=np.int64))

    def poison(self, table: PoisonTable) -> Poison:
        """What a table without faults adds."""
        return self.accounts(table)

    def nesting_fault(self, smaller: PoisonTable, larger: PoisonTable) -> PoisonFault | None:
        """Why a tier's table does not contain that of the tier before, `smaller`; None where it does."""
        return nesting_fault(smaller, larger)

    @cached_property
    def _items(self) -> dict[str, int]:
        return {item: number for number, item in enumerate(self.genuine.catalog.ids)}

    @cached_property
    def _users(self) -> frozenset[str]:
        return frozenset(self.genuine.user_ids)

    @cached_property
    def _days(self) -> frozenset[int]:
        return frozenset(np.unique(self.genuine.training.times // DAY).tolist())

    def _header_faults(self, table: PoisonTable) -> Iterator[PoisonFault]:
        header = table.header
        ids = self.genuine.catalog.ids
        targets = {name: tuple(ids[item] for item in items.tolist()) for name, items in self.targets.sets.items()}
        expected = {
            "task": (header.task, self.task),
            "track": (header.track, self.track),
            "data": (header.data, self.genuine.fingerprint),
            "threat": (header.threat, self.threat.id),
            "targets": (header.targets, targets),
        }
        for name, (there, wanted) in expected.items():
            if there != wanted:
                yield PoisonFault(f"is {there}, where {wanted} is expected", field=f"header.{name}")

    def _row_faults(self, table: PoisonTable) -> Iterator[PoisonFault]:
        seen: set[tuple[object, object]] = set()
        placed: set[tuple[object, object]] = set()
        lengths = Counter(table.accounts)
        for row, (account, item, time) in enumerate(table.rows(), start=1):
            for name, value, fault in (
                ("account", account, self._account_fault(account)),
                ("item", item, self._item_fault(item)),
                ("time", time, self._time_fault(time, lengths[account])),
            ):
                if value is None or value != value or value == "":
                    yield PoisonFault("is missing", row, name)
                elif fault:
                    yield PoisonFault(fault, row, name)
            if (account, item) in seen:
                yield PoisonFault(f"{account!r} has the item {item!r} twice", row, "item")
            seen.add((account, item))
            if not self.genuine.has_clock:
                if (account, time) in placed:
                    yield PoisonFault(f"{account!r} has two items at the place {time!r}", row, "time")
                placed.add((account, time))

    def _account_fault(self, account: object) -> str:
        if not isinstance(account, str):
            return f"{account!r} is no text"
        return f"{account!r} is a genuine user" if account in self._users else ""

    def _item_fault(self, item: object) -> str:
        return "" if isinstance(item, str) and item in self._items else f"{item!r} is no item of the catalog"

    def _time_fault(self, time: object, length: int) -> str:
        if not isinstance(time, int) or isinstance(time, bool):
            kind = "of seconds since 1970" if self.genuine.has_clock else "that counts places"
            return f"{time!r} is no whole number {kind}"
        if not self.genuine.has_clock:
            wrong = not 0 <= time < length
            return f"{time} is no place of an account of {length} items, which are 0 to {length - 1}" if wrong else ""
        first, end = int(self.genuine.training.times.min()), self.genuine.training_end
        if not first <= time < end:
            return f"{time} lies outside the training period, which is from {first} until {end}"
        return "" if time // DAY in self._days else f"{time} lies on a day on which no genuine user took anything"

    def _budget_faults(self, table: PoisonTable) -> Iterator[PoisonFault]:
        budget = PoisonBudget.of(self.threat, table.header.tier, self.genuine)
        rows: dict[object, list[int]] = {}
        for row, account in enumerate(table.accounts, start=1):
            rows.setdefault(account, []).append(row)
        if len(rows) > budget.accounts:
            first = list(rows.values())[budget.accounts][0]
            yield PoisonFault(
                f"there are {len(rows)} accounts, {budget.accounts} are allowed ({budget.tier})", first, "account"
            )
        for account, own in rows.items():
            if len(own) > budget.length:
                fault = f"{account!r} has {len(own)} items, {budget.length} are allowed"
                yield PoisonFault(fault, own[budget.length], "account")


def nesting_fault(smaller: PoisonTable, larger: PoisonTable) -> PoisonFault | None:
    """Why the table of a tier does not contain that of the tier before, `smaller`, unchanged; None where it does."""
    accounts = set(smaller.accounts)
    own = Counter(smaller.rows())
    there = Counter(row for row in larger.rows() if row[0] in accounts)
    if own == there:
        return None
    ((account, item, _), *_) = (*(own - there), *(there - own))
    return PoisonFault(
        f"does not contain the {smaller.header.tier} tier unchanged: the item {item!r} of {account!r}", field="account"
    )


def changed_genuine(clean: TaskData, poisoned: PoisonedData) -> str:
    """What of the genuine data is not as before, but for the numbers of users; empty where everything is."""
    data, number = poisoned.data, poisoned.genuine
    every = np.concatenate([number, poisoned.fakes])
    if len(np.unique(every)) != len(every) or data.user_count != len(every):
        return "two users have one number"
    kept = ~np.isin(data.train.users, poisoned.fakes)
    parts: Sequence[tuple[str, Pairs, Pairs]] = (
        ("training", clean.train, data.train.select(np.flatnonzero(kept))),
        ("validation", clean.valid, data.valid),
        ("test", clean.test, data.test),
    )
    for name, before, after in parts:
        before = replace(before, users=number[before.users])
        if not all(np.array_equal(getattr(before, f.name), getattr(after, f.name)) for f in fields(Pairs)):
            return f"genuine {name} pairs changed"
    for part in ("impressions", "popular_impressions"):
        shown, after = getattr(clean, part), getattr(data, part)
        if (shown is None) != (after is None):
            return "genuine test impressions changed"
        if shown is not None:
            shown = replace(shown, users=number[shown.users])
            if not all(np.array_equal(getattr(shown, f.name), getattr(after, f.name)) for f in fields(Impressions)):
                return "genuine test impressions changed"
    return "" if data.catalog is clean.catalog else "the catalog changed"
