"""Poison tables: made once for a task, threat, attack and tier, verified, and kept for every row of the board."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from recgauntlet.attacks.poisoning.base import Poisoning, PoisoningAttack, PoisoningKnowledge
from recgauntlet.attacks.poisoning.insertions import Insertion
from recgauntlet.attacks.poisoning.suite import POISONING_VERSION
from recgauntlet.core import files as paths
from recgauntlet.core.card import TIERS, TaskCard, Tier, Track, TrainingDataThreat
from recgauntlet.core.errors import DataError
from recgauntlet.core.poison import FakeAccounts, Poison
from recgauntlet.core.rng import Randomness
from recgauntlet.data.interactions import Interactions
from recgauntlet.data.poison_tables import (
    PoisonHeader,
    PoisonTable,
    inserted_rows,
    named_rows,
    read_table,
    rows_hash,
    write_table,
)
from recgauntlet.threats.insertions import InsertionVerifier
from recgauntlet.threats.training_data import (
    PoisonBudget,
    PoisonFault,
    PoisonVerifier,
    draw_targets,
)


@dataclass(frozen=True)
class PoisonedTier:
    """What an attack made for one tier.

    table
        The poison table.
    poison
        What it adds; nothing where the table was refused, so that training with it is training without poison.
    faults
        Why the verifier refuses it; empty where it is legal.
    path
        Where it is kept; None where it is not, because it was refused.
    """

    table: PoisonTable
    poison: Poison
    faults: tuple[PoisonFault, ...]
    path: Path | None

    @property
    def accounts(self) -> FakeAccounts:
        """The fake accounts; TypeError where the threat adds none."""
        if not isinstance(self.poison, FakeAccounts):
            raise TypeError("plays are put into genuine accounts, and no account is made")
        return self.poison


@dataclass(frozen=True)
class PoisonStore:
    """Makes and keeps the poison tables of one threat on one track.

    cache
        The cache's directory.
    """

    card: TaskCard
    track: Track
    threat: TrainingDataThreat
    genuine: Interactions
    cache: Path

    @cached_property
    def verifier(self) -> PoisonVerifier:
        """The rules for these tables."""
        targets = draw_targets(self.threat, self.genuine, self.card.track(self.track).sampling_seed)
        rules = PoisonVerifier if self.threat.insertions is None else InsertionVerifier
        return rules(self.card.id, self.track, self.threat, self.genuine, targets)

    def path(self, attack: PoisoningAttack, tier: Tier) -> Path:
        """Where the table of an attack and tier is kept: its name depends on all that it is made from."""
        made_from = [
            POISONING_VERSION,
            self.genuine.fingerprint,
            self.card.track(self.track).model_dump(mode="json", include={"sampling_seed", "split"}),
            self.threat.model_dump(mode="json", exclude={"source", "active", "ranked", "attacks"}),
            [attack.name, attack.hyperparameters(), attack.source],
        ]
        key = hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
        name = f"{self.card.id}-{self.track}-{self.threat.id}-{attack.name}-{tier}-{key}.parquet"
        return paths.poison(self.cache) / name

    def tables(self, attack: PoisoningAttack) -> Mapping[Tier, PoisonedTier]:
        """The tables of an attack, by tier: as they are kept, or made now where one is not.

        Each tier contains the one before: `standard` is made first and `low` is its first accounts; for `high` the
        attack adds to `standard`. Plays put into accounts that exist are made for `high`, and the lower tiers are the
        first of them. Where one tier is refused, none is kept.

        Raises
        ------
        DataError
            Where a kept table is damaged, was changed, or is of another attack.
        OutputError
            Where the cache cannot be written.
        """
        where: dict[Tier, Path] = {tier: self.path(attack, tier) for tier in TIERS}
        if all(path.exists() for path in where.values()):
            return self._kept(attack, where)
        made = self._made(attack)
        faults = {tier: tuple(self._faults(made, tier)) for tier in TIERS}
        legal = not any(faults.values())
        for tier, table in made.items():
            if legal:
                write_table(table, where[tier])
        found: dict[Tier, PoisonedTier] = {
            tier: PoisonedTier(
                table,
                self.verifier.poison(self._emptied(table) if faults[tier] else table),
                faults[tier],
                where[tier] if legal else None,
            )
            for tier, table in made.items()
        }
        return found

    def adopt(self, directory: Path, attacks: Sequence[PoisoningAttack]) -> int:
        """Keep the tables of `attacks` for this threat and track that lie below `directory`, in place of those that are
        kept; how many there were. All are verified before one is kept.

        Raises
        ------
        DataError
            Where there is none, or one is damaged, refused, or of another version of the attacks.
        OutputError
            Where the cache cannot be written.
        """
        found: dict[Path, PoisonTable] = {}
        for path in sorted(directory.rglob("*.parquet")):
            header = read_table(path).header
            if (header.task, header.track, header.threat) != (self.card.id, self.track, self.threat.id):
                continue
            table, _ = self.checked(path)
            if header.suite != POISONING_VERSION:
                problem = f"is {header.suite}, where {POISONING_VERSION} is expected"
                raise DataError(
                    problem, where=path, field="header.suite", remedy="make the tables here: leave --from out"
                )
            found |= {
                self.path(attack, header.tier): table
                for attack in attacks
                if (attack.name, attack.hyperparameters()) == (header.attack, header.hyperparameters)
            }
        if not found:
            raise DataError(
                f"holds no poison table of {self.card.id} ({self.track}) under {self.threat.id} and these attacks",
                where=directory,
                remedy="name a release that was frozen with --poison-tables, or leave --from out",
            )
        for target, table in found.items():
            write_table(table, target)
        return len(found)

    def checked(self, path: Path) -> tuple[PoisonTable, Poison]:
        """The table at `path`, which may be anybody's, and what it adds.

        Raises
        ------
        DataError
            Where it cannot be read or the verifier refuses it: the file, the column and the row of the first fault.
        """
        table = read_table(path)
        faults = self.verifier.faults(table)
        if faults:
            first, more = faults[0], len(faults) - 1
            raise DataError(
                first.problem + (f" (and {more} more fault{'s' if more > 1 else ''})" if more else ""),
                where=path,
                field=first.place or None,
                remedy=_remedy(first, self.card.id),
            )
        return table, self.verifier.poison(table)

    def _kept(self, attack: PoisoningAttack, where: Mapping[Tier, Path]) -> dict[Tier, PoisonedTier]:
        found: dict[Tier, PoisonedTier] = {}
        for tier, path in where.items():
            table, accounts = self.checked(path)
            header = table.header
            fault = None
            if (header.attack, header.tier, header.suite) != (attack.name, tier, POISONING_VERSION):
                fault = PoisonFault(
                    f"is the {header.tier} tier of {header.attack} {header.suite}", field="header.attack"
                )
            elif found:
                fault = self.verifier.nesting_fault(found[TIERS[len(found) - 1]].table, table)
            if fault is not None:
                remedy = "delete the file; the tables are then made again"
                raise DataError(fault.problem, where=path, field=fault.place or None, remedy=remedy)
            found[tier] = PoisonedTier(table, accounts, (), path)
        return found

    def _made(self, attack: PoisoningAttack) -> dict[Tier, PoisonTable]:
        if isinstance(attack, Insertion):
            return self._inserted(attack)
        if not isinstance(attack, Poisoning):
            raise TypeError(f"{attack.name} makes neither accounts nor plays in accounts")
        budgets = {tier: PoisonBudget.of(self.threat, tier, self.genuine) for tier in TIERS}
        knowledge = PoisoningKnowledge.of(self.genuine, attack.knowledge)
        seed = self.card.track(self.track).sampling_seed
        rng = Randomness(seed, f"poisoning/{self.threat.id}/{attack.name}")
        targets = self.verifier.targets
        standard = attack.accounts(knowledge, targets, budgets["standard"], rng.child("standard"))
        more = replace(budgets["high"], accounts=budgets["high"].accounts - budgets["standard"].accounts)
        added = attack.accounts(knowledge.with_accounts(standard), targets, more, rng.child("high"))
        tiers: dict[Tier, FakeAccounts] = {
            "low": standard.first(budgets["low"].accounts),
            "standard": standard,
            "high": standard.joined(added),
        }
        return {
            tier: self._table(attack, tier, named_rows(accounts, self.genuine.catalog), accounts.chosen)
            for tier, accounts in tiers.items()
        }

    def _inserted(self, attack: Insertion) -> dict[Tier, PoisonTable]:
        budgets = {tier: PoisonBudget.of(self.threat, tier, self.genuine) for tier in TIERS}
        targets, training = self.verifier.targets, self.genuine.training
        own = training.where(np.isin(training.users, targets.collective))
        rng = Randomness(self.card.track(self.track).sampling_seed, f"poisoning/{self.threat.id}/{attack.name}")
        knowledge = PoisoningKnowledge.of(self.genuine, attack.knowledge)
        made = attack.insertions(knowledge, own, targets, budgets["high"], rng)
        rows = inserted_rows(made, self.genuine.user_ids, self.genuine.catalog)
        counts = {tier: len(rows) if tier == "high" else budgets[tier].insertions for tier in TIERS}
        return {tier: self._table(attack, tier, rows[: counts[tier]]) for tier in TIERS}

    def _table(
        self,
        attack: PoisoningAttack,
        tier: Tier,
        rows: Sequence[tuple[object, object, object]],
        chosen: tuple[str, ...] = (),
    ) -> PoisonTable:
        ids = self.genuine.catalog.ids
        header = PoisonHeader(
            task=self.card.id,
            track=self.track,
            data=self.genuine.fingerprint,
            threat=self.threat.id,
            tier=tier,
            attack=attack.name,
            hyperparameters=attack.hyperparameters(),
            knowledge=attack.knowledge,
            chosen=chosen,
            suite=POISONING_VERSION,
            targets={
                name: tuple(ids[item] for item in items.tolist()) for name, items in self.verifier.targets.sets.items()
            },
            sha256=rows_hash(rows),
        )
        return PoisonTable(header, *([row[place] for row in rows] for place in range(3)))

    @staticmethod
    def _emptied(table: PoisonTable) -> PoisonTable:
        return replace(table, accounts=(), items=(), times=())

    def _faults(self, made: Mapping[Tier, PoisonTable], tier: Tier) -> list[PoisonFault]:
        found = self.verifier.faults(made[tier])
        number = TIERS.index(tier)
        nesting = self.verifier.nesting_fault(made[TIERS[number - 1]], made[tier]) if number else None
        return found + ([] if nesting is None else [nesting])


def threat_of(card: TaskCard, name: str | None = None) -> TrainingDataThreat:
    """The threat to training data of a card, by its id or the only one.

    Raises
    ------
    DataError
        Where the card has none of that name.
    """
    found = [threat for threat in card.poisoning if name in {None, threat.id}]
    if not found:
        known = ", ".join(threat.id for threat in card.poisoning)
        raise DataError(
            "the card has no threat to training data" if not known else f"there is no threat {name!r}",
            where=card.id,
            field="poisoning",
            remedy=f"choose among: {known}" if known else "choose another task (recgauntlet poison list)",
        )
    return found[0]


def _remedy(fault: PoisonFault, task: str) -> str:
    if fault.field.startswith("header"):
        return f"use a table that was made for this task and track: recgauntlet poison make {task}"
    if fault.row is None:
        return f"make the table again: recgauntlet poison make {task}"
    return "take the row out or correct it; the budget and the rules: recgauntlet poison list " + task
