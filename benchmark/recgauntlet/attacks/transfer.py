"""The transfer attack: inputs found against the undefended twin are replayed on the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import BestSoFar
from recgauntlet.attacks.surrogate import SurrogateInputs
from recgauntlet.core.batch import Batch
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Scalar, Surface
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.victim import Victim


class Transfer(Attack):
    """Replay everything that `attacks` find on a twin, the undefended model of the same task, architecture and seed
    (Papernot, McDaniel and Goodfellow 2016).

    The search never asks the model at hand, so nothing that it does to its logits or gradients can mask it; only where
    several attacks left an input for one example it is asked which is worst. The attacks on the twin may ask it as
    often as the budget allows, and should not stop where the twin falls (the most wrong input carries over best). An
    embedding delta is rescaled from the twin's ball to the model's own. The work done on the twin is booked to the
    victim's effort, also where it was done for another model before.

    Parameters
    ----------
    attacks
        What is run against the twin, one after the other, on what the twin still gets right.
    twin
        The twin's inputs, searched for once.
    """

    name = "transfer"
    citation = bibtex("papernot2016transferability")
    surface: ClassVar[Surface] = "candidate-text"

    def __init__(self, attacks: Sequence[Attack], twin: SurrogateInputs) -> None:
        self.attacks = tuple(attacks)
        self.twin = twin
        self.surface = attacks[0].surface  # type: ignore[misc]  # an instance has the surface of what it carries

    def hyperparameters(self) -> dict[str, Scalar]:
        """For each attack on the twin, its hyper-parameters under its name."""
        return {
            f"{attack.name}.{key}": value for attack in self.attacks for key, value in attack.hyperparameters().items()
        }

    def supports(self, budget: Budget) -> bool:
        """Whether any of the attacks has moves inside the budget."""
        return any(attack.supports(budget) for attack in self.attacks)

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        """The most damaging of the inputs that fooled the twin, or were found to come nearest to it."""
        variants, effort = self.twin.found(self.attacks, budget)
        victim.effort.add(effort)
        model, catalog = threat_model(budget.threat), victim.world.catalog
        clean = self.twin.victim.clean
        order = torch.argsort(clean.example_ids)
        place = order[torch.searchsorted(clean.example_ids[order], batch.example_ids)]  # of `batch` in the twin's batch
        best, found = BestSoFar(batch), batch
        for number, variant in enumerate(variants):
            rows = torch.nonzero(variant.tried[place]).flatten()
            theirs = model.rescaled(variant.perturbed.select(place[rows]), self.twin.victim.scale, victim.scale)
            inputs = model.put(catalog, batch, rows, theirs)
            if number == 0:
                found = inputs
            rows = best.rows_to_try(victim, rows)
            if len(variants) > 1 and len(rows):  # one input is taken without asking
                rows = rows[best.improve(rows, victim.scores(inputs.select(rows)))]
                found = model.put(catalog, found, rows, inputs.select(rows))
        return found
