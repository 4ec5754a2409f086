"""Retraining a cell on poisoned data, one attack and tier after the other, and what each model then does.

Every finished retraining is a step of the journal, so that a run that was killed loses the one in flight. The results
hold outcomes; what is shown of them is computed from these (`recgauntlet.evaluation.poisoning`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

from recgauntlet.attacks.poisoning.base import PoisoningAttack
from recgauntlet.attacks.poisoning.tables import PoisonedTier, PoisonStore
from recgauntlet.core.card import Tier
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.journal import Journal
from recgauntlet.core.types import BoolArray, IntArray, Progress
from recgauntlet.data.poisoned import PoisonedData
from recgauntlet.evaluation.poisoning import (
    Audience,
    Exposure,
    PairOutcomes,
    PoisoningOutcome,
    measure_poisoning,
    never_taken,
)
from recgauntlet.runner.record import Machine
from recgauntlet.training.build import OpenCell, open_cell, poisoned_data, train_cell
from recgauntlet.training.trainer import filtered

Ints = Annotated[
    IntArray,
    PlainValidator(lambda values: np.asarray(values, dtype=np.int64)),
    PlainSerializer(lambda values: values.tolist(), when_used="json"),
]
Bits = Annotated[
    BoolArray,
    PlainValidator(lambda values: np.asarray(values, dtype=np.bool_)),
    PlainSerializer(lambda values: values.astype(int).tolist(), when_used="json"),
]


class Retraining(BaseModel):
    """What one model does that was trained from scratch, clean or poisoned. `U`, `T`, `P`: users, targets, test
    pairs."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    attack: str
    """Empty for the clean model."""
    tier: Tier | None
    table: str
    """Hash of the poison table."""
    faults: tuple[str, ...]
    """Why the table was refused; the model is then trained without it."""
    above: Ints
    """`[U, T]`, as `tied` and `others`: see `Exposure`."""
    tied: Ints
    others: Ints
    clicked: Bits
    """`[P]`: see `PairOutcomes`."""
    targets: Bits
    """`[P, T]`"""
    accuracy: float
    ndcg10: float
    seconds: float
    """Of the training."""
    dropped_fakes: int
    """Fake accounts of which the defense's filter left no training pair."""
    dropped_genuine: int
    """Genuine users of which it left none."""

    def outcome(self, audience: Audience, eligible: BoolArray) -> PoisoningOutcome:
        """The measures; `audience` and `eligible` are those that it was measured with."""
        exposure = Exposure(self.above, self.tied, self.others, audience.eligible)
        return PoisoningOutcome(
            exposure, PairOutcomes(self.clicked, self.targets, eligible), self.accuracy, self.ndcg10
        )


@dataclass(frozen=True)
class PoisonedCell:
    """A cell with the poison tables of a threat; `data` is the genuine data.

    machine
        Where and how exactly it is trained.
    """

    cell: OpenCell
    data: TaskData
    store: PoisonStore
    machine: Machine

    def journal_header(self) -> dict[str, str]:
        """What the retrainings belong to: one change of any of it trains anew."""
        spec = self.cell.spec
        return {
            "task": self.cell.task.card.fingerprint(spec.track),
            "data": self.data.fingerprint,
            "threat": self.store.threat.model_dump_json(exclude={"source", "active", "ranked"}),
            "model": self.cell.refs[0].model_dump_json(),
            "defense": self.cell.refs[1].model_dump_json(),
            "seed": str(spec.seed),
            "precision": self.machine.precision,
        }

    def audience(self) -> tuple[Audience, BoolArray]:
        """The genuine users whose lists are looked at, and `[P, T]`, the pairs of test clicks and targets that
        count."""
        genuine, targets = self.store.genuine, self.store.verifier.targets
        return Audience.of(self.data, genuine, targets), never_taken(self.data.test.users, genuine, targets)

    def run(
        self, attacks: Sequence[tuple[PoisoningAttack, Tier]], journal: Journal, progress: Progress
    ) -> tuple[Retraining, ...]:
        """Train the cell without poison, then once for each of `attacks`; what the journal has is not done again.

        Raises
        ------
        DataError, OutputError, PluginError
            Where a kept table was changed, the cache or the journal cannot be written, or a plugin fails.
        """
        audience, eligible = self.audience()
        steps: list[tuple[str, Tier | None, PoisonedTier | None]] = [("", None, None)]
        for own, at in attacks:
            steps.append((own.name, at, self.store.tables(own)[at]))
        found = []
        for number, (attack, tier, made) in enumerate(steps):
            progress(f"poisoning: {attack or 'clean'} {tier or ''}".rstrip(), number / len(steps))
            digest = made.table.header.sha256 if made else ""
            found.append(
                journal.do(
                    f"poisoning/{self.store.threat.id}/{attack}/{tier}/{digest}",
                    Retraining,
                    lambda attack=attack, tier=tier, made=made: self._retrained(  # type: ignore[misc]
                        attack, tier, made, audience, eligible
                    ),
                )
            )
        progress("poisoning: done", 1.0)
        return tuple(found)

    def _retrained(
        self, attack: str, tier: Tier | None, made: PoisonedTier | None, audience: Audience, eligible: BoolArray
    ) -> Retraining:
        # a defense may keep something of a training, so that each gets a new one
        cell = open_cell(self.cell.spec, self.cell.task)
        if made is None:
            poisoned = PoisonedData(self.data, np.arange(self.data.user_count), np.zeros(0, dtype=np.int64))
        else:
            poisoned = poisoned_data(cell, self.data, self.store.genuine, made.poison)
        data = poisoned.data
        model, trained = train_cell(cell, data, self.machine.device, self.machine.precision, lambda what, share: None)
        outcome = measure_poisoning(cell.defense_object.wrap(model), data, audience, eligible)
        dropped = np.setdiff1d(data.train.users, filtered(cell.defense_object, data.train).users)
        fakes = int(np.isin(dropped, poisoned.fakes).sum())
        return Retraining(
            attack=attack,
            tier=tier,
            table=made.table.header.sha256 if made else "",
            faults=tuple(map(str, made.faults)) if made else (),
            above=outcome.exposure.above,
            tied=outcome.exposure.tied,
            others=outcome.exposure.others,
            clicked=outcome.pairs.clicked,
            targets=outcome.pairs.targets,
            accuracy=outcome.accuracy,
            ndcg10=outcome.ndcg10,
            seconds=trained.seconds,
            dropped_fakes=fakes,
            dropped_genuine=len(dropped) - fakes,
        )
