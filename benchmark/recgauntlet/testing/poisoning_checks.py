"""Checks of an attack on training data: legal tables at every tier, nested, and the same for one seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

import numpy as np

from recgauntlet.attacks.poisoning.base import Knowledge, Poisoning, PoisoningKnowledge
from recgauntlet.core.card import TIERS, Tier, TierValues, TrainingDataThreat
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.poison import FakeAccounts, Targets
from recgauntlet.core.recommender import constructor_defaults
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Scalar
from recgauntlet.data.interactions import Interactions
from recgauntlet.data.poison_tables import PoisonHeader, PoisonTable, named_rows, rows_hash
from recgauntlet.data.takes import Takes
from recgauntlet.testing.check import CheckSkipped, Subject, require, require_nothing_left, rule
from recgauntlet.testing.constructor import require_constructor, require_hyperparameters, require_name, require_subclass
from recgauntlet.testing.process import Globals, scramble
from recgauntlet.testing.tiny import tiny_catalog
from recgauntlet.threats.training_data import DAY, PoisonBudget, PoisonVerifier, draw_targets

USERS, ITEMS, PROFILE, PERIOD = 100, 120, 16, 60
"""Users, items, items of each user, and days of the training period."""
FIRST = 18_000 * DAY
"""The first second of the training period."""


def tiny_interactions() -> Interactions:
    """Users who take popular items more often, one a day at most, on days from `FIRST` on."""
    users, items, times = [], [], []
    chances = 1 / np.arange(1, ITEMS + 1)
    for user in range(USERS):
        draw = Randomness(0, "conformance/interactions").numpy(user)
        items.append(draw.choice(ITEMS, size=PROFILE, replace=False, p=chances / chances.sum()))
        days = np.sort(draw.choice(PERIOD, size=PROFILE, replace=False))
        times.append(FIRST + days * DAY + draw.integers(0, DAY, size=PROFILE))
        users.append(np.full(PROFILE, user))
    takes = Takes.of(np.concatenate(users), np.concatenate(items), np.concatenate(times))
    catalog: Catalog = tiny_catalog(size=ITEMS)
    names = tuple(f"u{user}" for user in range(USERS))
    inside = np.ones(len(takes), dtype=np.bool_)
    return Interactions("0" * 64, catalog, names, takes, inside, FIRST + PERIOD * DAY, True)


def tiny_threat() -> TrainingDataThreat:
    """2, 5 and 15 accounts; two targets of each of three sets."""
    return TrainingDataThreat(
        id="brushing",
        surface="training-data",
        goal="promote",
        active=False,
        ranked=False,
        accounts=TierValues(low=0.02, standard=0.05, high=0.15),
        target_sets=("tail", "middle", "head"),
        targets=2,
        source="the conformance suite",
    )


@dataclass(frozen=True)
class PoisoningSubject(Subject[type[Poisoning]]):
    """An attack on training data under test, on tiny interactions."""

    @cached_property
    def genuine(self) -> Interactions:
        """What the attack poisons."""
        return tiny_interactions()

    @cached_property
    def verifier(self) -> PoisonVerifier:
        """The rules."""
        threat = tiny_threat()
        return PoisonVerifier("tiny", "standard", threat, self.genuine, draw_targets(threat, self.genuine, 0))

    def make_object(self) -> None:
        self.make()

    def make(self, **options: Scalar) -> Poisoning:
        """A new object."""
        return self.plugin(**{**self.options, **options})

    def try_out(self) -> None:
        self.ask("standard")

    def ask(self, tier: Tier, before: FakeAccounts | None = None, seed: int = 0, attack: Any = None) -> Any:
        """What an object (a new one) returns for a tier, whatever it is: for `high`, beside `before`, what it adds."""
        budget = PoisonBudget.of(self.verifier.threat, tier, self.genuine)
        knowledge = PoisoningKnowledge.of(self.genuine, self.plugin.knowledge)
        if before is not None:
            budget = replace(budget, accounts=budget.accounts - before.count)
            knowledge = knowledge.with_accounts(before)
        targets = Targets({name: items.copy() for name, items in self.verifier.targets.sets.items()})
        made = self.make() if attack is None else attack
        return made.accounts(knowledge, targets, budget, Randomness(seed, f"conformance/{tier}"))

    def made(self, tier: Tier, before: FakeAccounts | None = None, seed: int = 0) -> FakeAccounts:
        """The accounts of a tier; CheckSkipped where the attack does not return accounts (see returns-accounts)."""
        found = self.ask(tier, before, seed)
        if problem := _unlike_accounts(found):
            raise CheckSkipped(f"{problem} (see returns-accounts)")
        accounts: FakeAccounts = found
        return accounts

    @cached_property
    def tiers(self) -> dict[Tier, FakeAccounts]:
        """The accounts of every tier, put together as for a track."""
        standard = self.made("standard")
        low = PoisonBudget.of(self.verifier.threat, "low", self.genuine).accounts
        return {"low": standard.first(low), "standard": standard, "high": standard.joined(self.made("high", standard))}

    def table(self, tier: Tier) -> PoisonTable:
        """The table of a tier."""
        rows, ids = named_rows(self.tiers[tier], self.genuine.catalog), self.genuine.catalog.ids
        header = PoisonHeader(
            task="tiny",
            track="standard",
            data=self.genuine.fingerprint,
            threat=self.verifier.threat.id,
            tier=tier,
            attack="under-test",
            hyperparameters={},
            knowledge=self.plugin.knowledge,
            suite="",
            targets={name: tuple(ids[item] for item in own) for name, own in self.verifier.targets.sets.items()},
            sha256=rows_hash(rows),
        )
        return PoisonTable(header, *([row[place] for row in rows] for place in range(3)))


def _unlike_accounts(found: Any) -> str:
    """What is wrong with the form of an answer; empty where it is accounts."""
    if not isinstance(found, FakeAccounts):
        return f"accounts gives {type(found).__name__}"
    columns = (found.accounts, found.items, found.times)
    if not all(isinstance(own, np.ndarray) and own.dtype.kind == "i" and own.ndim == 1 for own in columns):
        return "its columns are not flat arrays of whole numbers"
    if len({len(own) for own in columns}) != 1:
        return "its columns have different lengths"
    if not np.array_equal(np.unique(found.accounts), np.arange(found.count)):
        return "its accounts are not numbered 0, 1, 2, ..."
    return ""


@rule("see docs/extend/poisoning.md", needs_run=False)
def constructor(subject: PoisoningSubject) -> None:
    """A subclass of Poisoning with its registered name and a known `knowledge`; keyword-only arguments with plain
    defaults, no **kwargs.
    """
    plugin: Any = subject.plugin
    require_subclass(plugin, Poisoning)
    require_constructor(plugin)
    require_name(subject.make(), subject.name)
    require(
        plugin.knowledge in get_args(Knowledge),
        f"its knowledge is {plugin.knowledge!r}",
        f"write knowledge = ... with one of: {', '.join(get_args(Knowledge))}",
    )


@rule("mend the error: the last place that is named is where it was raised", needs_run=False)
def runs(subject: PoisoningSubject) -> None:
    """The attack makes accounts at the medium tier without an error."""
    if subject.failure is not None:
        raise subject.failure


@rule("write self.NAME = NAME for every argument")
def hyper_parameters(subject: PoisoningSubject) -> None:
    """Every constructor argument is an attribute of the same name with the given value; the table's header names
    it.
    """
    require_hyperparameters(subject.make, constructor_defaults(subject.plugin) | dict(subject.options))


@rule("return recgauntlet.dated(profiles, knowledge, rng)")
def returns_accounts(subject: PoisoningSubject) -> None:
    """`accounts` returns FakeAccounts: flat arrays of whole numbers of one length, accounts numbered from 0."""
    problem = _unlike_accounts(subject.ask("standard"))
    require(not problem, problem)


@rule("see recgauntlet.PoisonBudget for the budget, and PoisoningKnowledge.moments for the days; dated keeps to them")
def legal(subject: PoisoningSubject) -> str:
    """The independent verifier accepts the table of every tier: accounts, lengths, items, dates, nothing twice; the
    tier before is in it unchanged.
    """
    for number, tier in enumerate(TIERS):
        table = subject.table(tier)
        faults = subject.verifier.faults(table)
        if number and not faults:
            nesting = subject.verifier.nesting_fault(subject.table(TIERS[number - 1]), table)
            faults = [] if nesting is None else [nesting]
        require(not faults, f"{tier} tier: {len(faults)} faults ({'; '.join(map(str, faults[:2]))})")
    return ", ".join(f"{tier} {subject.tiers[tier].count} accounts" for tier in TIERS)


@rule("put recgauntlet.targets_of(account, targets, budget.length) into every account")
def targets_inside(subject: PoisoningSubject) -> None:
    """Every target is in at least one account of the medium tier."""
    left = np.setdiff1d(subject.verifier.targets.items, subject.made("standard").items)
    require(len(left) == 0, f"{len(left)} targets are in no account")


@rule("draw from rng (rng.numpy(account), rng.child(purpose)) and from nothing else")
def determinism(subject: PoisoningSubject) -> None:
    """One seed gives the same accounts: draws come from rng, and no global generator is used."""
    scramble(1)
    first = subject.made("standard")
    scramble(2)
    require(_same(first, subject.made("standard")), "asked twice with one seed, it gives other accounts")


@rule("keep nothing on the class, in the module or on the object between runs")
def no_leaks(subject: PoisoningSubject) -> None:
    """An object that was asked before gives what a new one gives; class attributes and module variables are
    unchanged.
    """
    first, attack = subject.made("standard"), subject.make()
    subject.ask("high", first, seed=1, attack=attack)
    again = subject.ask("standard", attack=attack)
    changed = subject.globals_before.changed(Globals.of(subject.plugin))
    require(not changed, f"running it changed {', '.join(changed)}, which the next run will find")
    if not _same(first, subject.made("standard")):
        raise CheckSkipped("the attack is not deterministic, so results cannot be compared (see determinism)")
    require(_same(first, again), "after another run the same object gives other accounts")


@rule("close files and pools, and put settings back, before accounts returns")
def leaves_nothing(subject: PoisoningSubject) -> None:
    """Settings, environment, threads, open files and the working directory are unchanged afterwards."""
    require_nothing_left(lambda: subject.ask("standard"))


def _same(first: FakeAccounts, second: FakeAccounts) -> bool:
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("accounts", "items", "times"))
