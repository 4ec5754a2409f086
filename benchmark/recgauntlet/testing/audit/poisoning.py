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
from recgauntlet.evaluation.newcomers import Gains, Untrained, measure_gains, measure_newcomers, newcomers_checks
from recgauntlet.evaluation.poisoning import measure_pairs, never_taken
from recgauntlet.evaluation.poisoning_checks import filter_check
from recgauntlet.metrics.exposure import PairOutcomes
from recgauntlet.testing.audit.accounts import ACCOUNT_FAKES, AccountFake, Insight
from recgauntlet.testing.audit.run import Audit, AuditRow, Measured, verdict
from recgauntlet.training.build import OpenCell, open_cell, train_cell
from recgauntlet.training.trainer import rows_lost

TIER: Tier = "high"
"""A demo track has one fake account at the medium tier."""


@dataclass(frozen=True)
class PoisonedSubject:
    """What is audited with: the undefended cell of each model, their genuine data without fakes, with those of
    `coattails` at TIER, and with harmless new accounts; `untrained` are pairs that no training has."""

    cells: dict[str, OpenCell]
    threat: TrainingDataThreat
    genuine: Interactions
    targets: Targets
    clean: PoisonedData
    poisoned: PoisonedData
    newcomers: PoisonedData
    untrained: Untrained

    def measure(self, model_name: str) -> tuple[Measured, Gains]:
        """Of the undefended model: accuracy on pairs of a test click and a target, clean and robust to the fake
        accounts, and the failed checks; and what it gains from training pairs."""
        return self._measured(self.cells[model_name], None)

    def measure_fake(self, fake: AccountFake, twin: Gains) -> Measured:
        """The same of a fake, whose undefended `twin` gains that much."""
        return self._measured(replace(self.cells[fake.model], defense_object=fake), twin)[0]

    def _measured(self, cell: OpenCell, twin: Gains | None) -> tuple[Measured, Gains]:
        found = []
        shares = []
        for made in (self.clean, self.poisoned):
            model, lost = _trained(cell, made)
            found.append(self._pairs(model, made))
            users = made.data.train.users
            shares.append(1 - len(np.unique(np.delete(users, lost))) / len(np.unique(users)))
        gates = [] if twin is None else [filter_check(self.threat.id, max(shares))]
        model, lost = _trained(cell, self.newcomers)
        data, new = self.newcomers.data, self.newcomers.fakes
        gains = measure_gains(model, data, new, lost, self.untrained)
        outcome = measure_newcomers(model, data, new, lost)
        outcome = outcome.model_copy(update={"gains": gains, "twin_gains": twin})
        gates += newcomers_checks(outcome, self.threat.id, filters=twin is not None)
        flags = tuple(f"{gate.name} ({gate.threat})" for gate in gates if not gate.passed)
        robust = found[0].and_right_under(found[1:]).accuracy()
        return Measured(found[0].accuracy(), {self.threat.id: robust}, flags), gains

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
    plain = replace(spec, model_options=(), defense=TWIN, defense_options=())
    cells = {name: open_cell(replace(plain, model=name)) for name in sorted({fake.model for fake in ACCOUNT_FAKES})}
    cell = next(iter(cells.values()))
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
    untrained = Untrained.of(made[-1], genuine, accounts[-1], rng.child("untrained"))
    return PoisonedSubject(cells, threat, genuine, targets, made[0], made[1], made[2], untrained)


def audit_poisoning(
    subject: PoisonedSubject, fakes: Sequence[type[AccountFake]], progress: Progress = lambda what, share: None
) -> Audit:
    """Train without a defense and under every fake, on genuine data, with fake accounts, and with harmless ones. A
    fake's gain is over its own model; the honest model of the table is that of the first fake."""
    data = subject.clean.data
    insight = Insight(data.train, data.user_count)
    progress("poisoning: the honest models", 0.0)
    of_model = {name: subject.measure(name) for name in dict.fromkeys(fake.model for fake in fakes)}
    flags = tuple(flag for found, _ in of_model.values() for flag in found.flags)
    honest, rows = replace(next(iter(of_model.values()))[0], flags=flags), []
    for number, fake in enumerate(fakes, start=1):
        progress(f"poisoning: {fake.name}", number / (len(fakes) + 1))
        undefended, gains = of_model[fake.model]
        found = subject.measure_fake(fake(insight), gains)
        gain = {threat: value - undefended.robust[threat] for threat, value in found.robust.items()}
        rows.append(AuditRow(fake.name, fake.pretends(), found, gain, verdict(gain, found.flags)))
    progress("poisoning: done", 1.0)
    card = next(iter(subject.cells.values())).task.card
    return Audit(card.id, f"poisoning {POISONING_VERSION}", 2 * len(data.test), honest, tuple(rows), TIER)


def _trained(cell: OpenCell, made: PoisonedData) -> tuple[Recommender, IntArray]:
    """The cell's model, trained, and the rows of the training pairs that its defense's filter removed."""
    model, _ = train_cell(cell, made.data, torch.device("cpu"), "fp32", lambda what, share: None)
    pairs = made.data.train
    return model.eval(), np.array(rows_lost(cell.defense_object.filter(pairs), pairs), dtype=np.int64)
