"""The audit of poisoning: every fake defense trained with fake accounts, and whether the checks find it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from recgauntlet.attacks.poisoning.newcomers import draw_newcomers
from recgauntlet.attacks.poisoning.profiles import Coattails
from recgauntlet.attacks.poisoning.suite import POISONING_VERSION
from recgauntlet.attacks.poisoning.tables import PoisonStore
from recgauntlet.core.card import TaskCard, Tier, TrainingDataThreat
from recgauntlet.core.errors import CardError
from recgauntlet.core.poison import FakeAccounts, Targets
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.spec import TWIN, CellSpec
from recgauntlet.core.types import IntArray, Progress
from recgauntlet.data.interactions import Interactions, load_interactions
from recgauntlet.data.poisoned import PoisonedData, with_accounts
from recgauntlet.data.prepare import prepare
from recgauntlet.evaluation.newcomers import measure_newcomers, newcomers_checks
from recgauntlet.evaluation.poisoning import measure_pairs, never_taken
from recgauntlet.evaluation.poisoning_checks import filter_check
from recgauntlet.metrics.exposure import PairOutcomes
from recgauntlet.testing.audit.accounts import AccountFake, Insight
from recgauntlet.testing.audit.run import Audit, AuditRow, Measured, verdict
from recgauntlet.training.build import OpenCell, open_cell, train_cell

MODEL = "item-knn"
"""The model that is poisoned: it trains in a second, and fake accounts move it."""
TIER: Tier = "high"
"""A demo track has one fake account at the medium tier."""


@dataclass(frozen=True)
class PoisonedSubject:
    """What is audited with: an undefended cell, its genuine data without fakes, with those of `coattails` at
    TIER, and with harmless new accounts."""

    cell: OpenCell
    threat: TrainingDataThreat
    genuine: Interactions
    targets: Targets
    clean: PoisonedData
    poisoned: PoisonedData
    newcomers: PoisonedData

    def measure(self, fake: AccountFake | None) -> Measured:
        """Accuracy on pairs of a test click and a target, clean and robust to the fake accounts; the failed checks."""
        cell = self.cell if fake is None else replace(self.cell, defense_object=fake)
        found = []
        shares = []
        for made in (self.clean, self.poisoned):
            model, removed = _trained(cell, made)
            found.append(self._pairs(model, made))
            shares.append(len(removed) / len(np.unique(made.data.train.users)))
        gates = [] if fake is None else [filter_check(self.threat.id, max(shares))]
        model, removed = _trained(cell, self.newcomers)
        outcome = measure_newcomers(model, self.newcomers.data, self.newcomers.fakes, removed)
        gates += newcomers_checks(outcome, self.threat.id, filters=fake is not None)
        flags = tuple(f"{gate.name} ({gate.threat})" for gate in gates if not gate.passed)
        robust = found[0].and_right_under(found[1:]).accuracy()
        return Measured(found[0].accuracy(), {self.threat.id: robust}, flags)

    def _pairs(self, model: Recommender, made: PoisonedData) -> PairOutcomes:
        # by the genuine numbers of the test users: those of `made` are drawn anew
        eligible = never_taken(self.clean.data.test.users, self.genuine, self.targets)
        return measure_pairs(model, made.data, self.targets.items, eligible)


def is_poisonable(card: TaskCard) -> bool:
    """Whether the card has a threat of fake accounts."""
    return any(threat.accounts is not None for threat in card.poisoning)


def poisoned_subject(spec: CellSpec) -> PoisonedSubject:
    """The subject of the task of `spec`, on its track and data; poison tables are kept in its cache.

    Raises
    ------
    CardError
        Where the card has no threat of fake accounts.
    """
    torch.set_num_threads(spec.threads)
    cell = open_cell(replace(spec, model=MODEL, model_options=(), defense=TWIN, defense_options=()))
    card, track = cell.task.card, cell.task.card.track(spec.track)
    if not is_poisonable(card):
        raise CardError(
            "the card has no threat of fake accounts, so there is nothing for these fakes to pretend",
            where=card.id,
            field="poisoning",
            remedy="choose another task (recgauntlet poison list)",
        )
    threat = next(threat for threat in card.poisoning if threat.accounts is not None)
    data, genuine = prepare(cell.task, spec.track, spec.source), load_interactions(cell.task, spec.track, spec.source)
    store = PoisonStore(card, spec.track, threat, genuine, spec.source.cache)
    targets, rng = store.verifier.targets, Randomness(spec.seed, "audit/newcomers")
    accounts = (
        FakeAccounts.none(),
        store.tables(Coattails())[TIER].accounts,
        draw_newcomers(genuine, targets, threat, rng),
    )
    made = [with_accounts(data, genuine, each, track) for each in accounts]
    return PoisonedSubject(cell, threat, genuine, targets, *made)


def audit_poisoning(
    subject: PoisonedSubject, fakes: Sequence[type[AccountFake]], progress: Progress = lambda what, share: None
) -> Audit:
    """Train without a defense and under every fake, on genuine data, with fake accounts, and with harmless ones."""
    data = subject.clean.data
    insight = Insight(data.train, data.user_count)
    progress("poisoning: the honest model", 0.0)
    honest, rows = subject.measure(None), []
    for number, fake in enumerate(fakes, start=1):
        progress(f"poisoning: {fake.name}", number / (len(fakes) + 1))
        found = subject.measure(fake(insight))
        gain = {threat: value - honest.robust[threat] for threat, value in found.robust.items()}
        rows.append(AuditRow(fake.name, fake.pretends(), found, gain, verdict(gain, found.flags)))
    progress("poisoning: done", 1.0)
    card = subject.cell.task.card
    return Audit(card.id, f"poisoning {POISONING_VERSION}", 2 * len(data.test), honest, tuple(rows), TIER)


def _trained(cell: OpenCell, made: PoisonedData) -> tuple[Recommender, IntArray]:
    """The cell's model, trained, and the users whom its defense left no training pair."""
    model, _ = train_cell(cell, made.data, torch.device("cpu"), "fp32", lambda what, share: None)
    users = made.data.train.users
    return model.eval(), np.setdiff1d(users, cell.defense_object.filter(made.data.train).users)
